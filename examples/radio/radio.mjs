// An internet radio station: a file, a pipe or a live source, to any number of players. See README.md beside this file.
//
//   npm run build && node examples/radio/radio.mjs      (PORT=0 takes any free port)
import { randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { basename, extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { peek } from './formats.mjs'
import { createSite } from './site.mjs'
import { Source } from './source.mjs'
import { Station } from './station.mjs'

const HELP = `Usage: node examples/radio/radio.mjs [file.mp3 | file.ogg | -] [options]

Plays a file over and over (without one: a short piece that comes with the radio), or what comes in on standard input (-), and sends
it to everybody who listens. Whoever goes live is heard instead, until they stop.

  --port <n>         where to listen (PORT, 8001; 0: any free port)
  --host <address>   127.0.0.1; 0.0.0.0 lets others in
  --station <name>   the name of the station
  --title <text>     what is playing (default: the name of the file)
  --measure <what>   who is slow: queue (default), whoever leaves bytes in this process; wire, also whoever's host does not confirm them
  --password <text>  what a live source must know (RADIO_PASSWORD; default: a new one, printed at the start)
  --help

A listener that takes nothing for TOWER_CLIENT_TIMEOUT_MS (250) is cut off, so that nobody else waits for it.

  node examples/radio/radio.mjs song.mp3 --title 'Somebody - Something'
  ffmpeg -re -i song.flac -f mp3 - | node examples/radio/radio.mjs -
`
const NAMES = ['port', 'host', 'station', 'title', 'measure', 'password', 'help']
const SHIPPED = fileURLToPath(new URL('sound.mp3', import.meta.url))

function options() {
  const { values, positionals } = parseArgs({
    options: Object.fromEntries(NAMES.map(name => [name, { type: name === 'help' ? 'boolean' : 'string' }])),
    allowPositionals: true,
  })
  if (positionals.length > 1) throw new Error(`one file at a time, please, and not ${positionals.length}`)
  const port = values.port ?? process.env.PORT ?? '8001'
  if (!/^\d+$/.test(port) || Number(port) > 65535) throw new Error(`--port: ${port} is no port number`)
  const { measure = 'queue' } = values
  if (!['queue', 'wire'].includes(measure)) throw new Error(`--measure: queue or wire, and not ${measure}`)
  const password = values.password ?? process.env.RADIO_PASSWORD
  return {
    ...{ host: '127.0.0.1', station: 'Hubline Radio', ...values, measure, port: Number(port) },
    ...{ file: positionals[0] ?? SHIPPED, password: password || randomBytes(9).toString('base64url'), made: !password },
  }
}

/** The bytes of a file, from the beginning again and again. An empty one would be read for ever. */
async function* loop(path) {
  for (;;) {
    let bytes = 0
    for await (const chunk of createReadStream(path)) {
      bytes += chunk.length
      yield chunk
    }
    if (bytes === 0) throw new Error('the file is empty')
  }
}

function titleOf(file) {
  if (file === SHIPPED) return 'Hubline - Four Bells'
  return file === '-' ? 'On the air' : basename(file, extname(file))
}

function announce({ name, format }, url, { password, made }) {
  const live = url.replace('//', `//source:${made ? password : '<password>'}@`)
  const suffix = format.titles ? 'mp3' : 'ogg'
  const players = ['ffplay', 'vlc', ...(format.titles ? ['mpg123'] : [])]
  const titles = `curl -sN -H 'Icy-MetaData: 1' ${url}/stream | head -c 20000 | strings | grep StreamTitle`
  const lines = [
    ['browser', `${url}/`],
    ['player', players.map(player => `${player} ${url}/stream`).join('   ')],
    ['save', `curl -sN ${url}/stream | head -c 200000 > sound.${suffix}`],
    ...(format.titles ? [['titles', titles]] : []),
    ['go live', `curl -T song.${suffix} ${live}/live`],
    ['say what', `curl '${live}/admin/metadata?mode=updinfo&song=Hello'`],
  ]
  console.log(`${name} is on the air: ${url}/\n`)
  for (const [what, how] of lines) console.log(`  ${what.padEnd(9)} ${how}`)
  const whose = made ? ` the password ${password}, made for this run` : ' your password'
  console.log(`\nLive sources log in as "source" with${whose}. Stop with Ctrl+C.`)
}

async function main() {
  const chosen = options()
  if (chosen.help) return console.log(HELP)
  const stop = new AbortController()
  const { signal } = stop
  const { format, chunks } = await peek(chosen.file === '-' ? process.stdin : loop(chosen.file))
  const { station: name, title = titleOf(chosen.file), measure } = chosen
  const station = new Station({ name, title, format, measure })
  const playing = station.play(chunks, signal)
  await Promise.race([station.begun, playing])
  const source = new Source({ station, password: chosen.password, signal })
  const { door, close } = createSite({ station, source })
  for (const each of ['SIGINT', 'SIGTERM']) process.once(each, () => stop.abort())
  // A pipe in which nothing comes would be waited for.
  signal.addEventListener('abort', () => process.stdin.destroy())
  try {
    await new Promise((resolve, reject) => door.once('error', reject).listen(chosen.port, chosen.host, resolve))
    const { address, port, family } = door.address()
    announce(station, `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`, chosen)
    await playing
    console.log('The input has ended.')
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    // Listeners first: each gets the end of its response, and only who does not take it is cut.
    stop.abort()
    await station.close()
    close()
  }
}

main().catch(error => {
  console.error(`radio: ${error.message} (--help says more)`)
  process.exitCode = 1
})
