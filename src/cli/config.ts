import { Command } from '../bundled/commander.ts'
import { ruleOrigins, settingsOf } from '../server/config/origins.ts'
import { explainTopic, summarizeRule } from '../server/config/topic-report.ts'
import { warningsOf } from '../server/config/warnings.ts'
import { type Config, mergeLayers, readLayers } from '../server/config.ts'
import { configuredRules } from '../server/server-hub.ts'
import { createSessions } from '../server/sessions.ts'
import { type ServeFlags, serverOptions } from './serve.ts'

type CheckFlags = ServeFlags & { readonly topic?: string }

export function configCommand(): Command {
  return new Command('config')
    .description('Explain the configuration.')
    .addCommand(checkCommand())
    .addHelpText(
      'after',
      `
Examples:
  $ hubline config check --config hubline.yaml
  $ hubline config check --topic video/main`,
    )
}

function checkCommand(): Command {
  return serverOptions(new Command('check'))
    .description(
      'Load the configuration as serve would, and say what is in force, where it comes from, and what is dangerous.',
    )
    .option('-t, --topic <name>', 'say which rule applies to this topic, why, and what it makes of the topic')
    .addHelpText(
      'after',
      `
Examples:
  $ hubline config check --config hubline.yaml
  $ HUBLINE_POLICY=latest hubline config check --topic video/main

It takes the options of serve, and starts nothing. Each setting has its origin beside it: an option, a HUBLINE_* variable, the file, or
"default". Secrets are not shown. What is wrong ends it with exit code 2 and the sentence that serve would say; warnings do not, they are on
stderr. Which rule applies to a topic, and all of their fields: docs/topics.md.`,
    )
    .action(async ({ topic, ...flags }: CheckFlags) => {
      const { text, warnings } = await checkConfig(flags, topic)
      process.stdout.write(`${text}\n`)
      for (const warning of warnings) process.stderr.write(`warning: ${warning}\n`)
    })
}

async function checkConfig({ config: file, ...flags }: ServeFlags, topic: string | undefined) {
  const layers = readLayers({ file, env: process.env, flags })
  const config = mergeLayers(layers)
  const rules = configuredRules(config)
  await checkSessions(config)
  // First, for a name that is none must not come after pages of settings.
  const explained = topic === undefined ? [] : ['', ...explainTopic(config, rules, topic)]
  const origins = ruleOrigins(config, layers)
  const lines = [
    ...table(settingsOf(layers).map(({ key, shown, from }) => [key, shown, from])),
    '',
    `topics: ${origins.size} rules; others are ${config.unknownTopics === 'refuse' ? 'refused' : 'as the defaults say'}`,
    ...table([...origins].map(([pattern, from]) => [`  ${pattern}`, summarizeRule(config.topics[pattern]!), from])),
    ...explained,
  ]
  return { text: lines.join('\n'), warnings: warningsOf(config, rules) }
}

/**
 * Opened as serve would, for what only then is found: a secret that is too short, no audience. Throws CONFIG_INVALID.
 */
async function checkSessions({ sessions, tenants }: Config): Promise<void> {
  await createSessions(sessions).close()
  for (const [name, tenant] of Object.entries(tenants)) {
    await createSessions(tenant.sessions, `tenants.${name}.`).close()
  }
}

/** Wider cells move what is behind them, and not every row. */
const MAX_WIDTH = 44

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = [0, 1].map(column => Math.min(MAX_WIDTH, Math.max(0, ...rows.map(row => row[column]!.length))))
  return rows.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
