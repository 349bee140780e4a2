/** @import { Results } from './results.mjs' */

/** @param {Results} results */
export const introduction = ({ rounds }) => `\
How fast Hubline is, what it costs, and how that compares with other servers that do the same job.

- **Each server is pinned to one core.** The load generator is a process of its own, pinned to another core.
- **Rounds alternate.** All servers of a scenario are up at once and take turns, so that a slow minute of the machine hits all of them. Who has
  no turn has nothing to do.
- **Every delivery is counted where it arrives.** Each payload begins with a marker: topic, number and time. The receiver reads it, so what was
  lost, came twice or came out of order is seen, and so is the time from publish to arrival.
- **The load generator knows no protocol library.** It writes prepared bytes to raw sockets and counts markers in what comes back. It is the
  same for all servers.
- **Server CPU is what the kernel has booked** (\`/proc\`): user and system time of all threads of the server and the processes that it started.
- **Figures are medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}**, after a warm-up. Memory is measured once, with one server up at a time.`

export const QUICK = `\
> **This was a quick run.** Its rounds are short and few. It shows that the bench works; do not quote its figures.`

export const READING = `\
- **to the best other** compares each peer with the best one that is not Hubline. \`1.76 x\` is 1.76 times as good, whether more or less is better;
  below 1 is worse than that one. A peer with a remark takes part like any other.
- **Ratios hold better than figures.** All peers ran on the same machine and took turns, so a machine twice as fast changes the figures much and
  the ratios little. On a shared machine neighbours take their part: a difference of a few percent means nothing. *rounds* has the lowest
  and the highest round; where those of two peers overlap, their order may be chance.
- **load CPU** is the load generator's own. Near 100 % it was the bottleneck: that server could have done more, and only its CPU per delivery
  says how much it had left.
- **CPU µs/delivery** is server CPU divided by deliveries. A server that is flooded writes many messages at once and is cheaper per delivery than
  one at a steady pace; compare within a scenario only.
- **Latency** is from publish to arrival, over all receivers. A message is stamped when it is sent and not when it was due, so what a load
  generator near 100 % was late with is not in it. In a flood it is mostly the time in queues.
- **remark**: *lost* are numbers that were skipped; *missing* never came, beside those; *out of order* came after a later one, or twice; *closed*
  are connections that ended; *could not keep up* delivered less than 98 % of the wanted rate. The counts are those of all rounds together.
- **In brackets** is a configuration, where a peer has more than one, or the protocol, where it is not that of the heading.
- **µs** are microseconds, **KiB** 1,024 bytes, **MB** 1,000,000 bytes.
- Loopback has no loss and no distance. It shows what a server costs, not what a network does.`

export const SCALING = `\
One message at a time to more and more subscribers of one topic, over WebSocket. The more there are, the fewer messages are sent, so that
the number of deliveries a second stays about the same. What is paid once a message is shared by all who get it; what is left is the cost of
one delivery.`
