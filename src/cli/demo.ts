import { Command } from '../bundled/commander.ts'
import { readConfig, serverOptions, serverParts, showGuide } from './serve.ts'

/** A line for each visitor would hide what the command says. */
const LOG_LEVEL = 'warn'

export function demoCommand(): Command {
  return serverOptions(new Command('demo'), LOG_LEVEL)
    .description('Run the server with live sources (telemetry, sound, a camera) and a page that shows them.')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline demo
  $ hubline demo --port 9000 --log-level info`,
    )
    .action(async flags => {
      const config = readConfig(flags, { logLevel: LOG_LEVEL })
      const { demoPlugin, demoTopics, serve } = await serverParts()
      const { url } = await serve(config, { plugins: [demoPlugin], topics: demoTopics })
      showGuide(demoText(url))
    })
}

function demoText(url: string): string {
  return `Hubline is running. Open

  ${url}/

for telemetry, sound and a camera over three protocols, and what each policy does to a slow client. Or in a terminal:

  telemetry   curl -N ${url}/topics/demo/telemetry
  as SSE      curl -N -H 'accept: text/event-stream' ${url}/topics/demo/telemetry
  sound       curl -sN ${url}/topics/demo/audio | aplay        (or ffplay -)
  camera      ${url}/topics/demo/camera                        (in a browser)
  publish     curl -d 'hi there' ${url}/topics/hello
  listen      curl -N ${url}/topics/hello
  who is on   curl ${url}/api/clients
  one alone   curl -d 'for you' ${url}/api/clients/ada/send        (who listens with ?client=ada)

Ctrl-C stops it.`
}
