// A CommonJS program of a user: every entry can be required (scripts/check-package.mjs).
import { createHub, type Hub } from 'hubline'
import { hubline } from 'hubline/fastify'
import { sessionChain } from 'hubline/sessions'
import { ManualScheduler } from 'hubline/testing'
import { HTTPConnectionManager } from 'hubline/tower'
import { sse } from 'hubline/transports'

const hub: Hub = createHub()
hub.close().then(() => {
  console.log([hubline, sessionChain, ManualScheduler, HTTPConnectionManager, sse].map(each => typeof each).join(' '))
})
