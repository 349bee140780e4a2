import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { freePort } from '../stores/redis-server.ts'

// Where Debian has it is not on every PATH.
const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
const program = folders.map(folder => join(folder, 'nginx')).find(existsSync)
/** For describe.skipIf: where everything is required, its absence is a failure. */
export const withoutNginx = program === undefined && process.env.HUBLINE_TEST_REQUIRE_ALL !== '1'
if (withoutNginx) {
  console.log('Skipped: the tests behind a proxy need nginx; npm run setup:nginx installs it (apt-get, as root).')
}

/**
 * Both servers use one connection to the hub again and again: a request that is read in two ways would hit the next
 * one. The first server soon closes a client that sends nothing more. The second one has patience: on a busy machine
 * nginx may read a whole request late.
 */
const shared = (port: number, hub: string, patientPort: number) => `
  upstream hub { server ${hub}; keepalive 1; }
  keepalive_timeout 300ms;
  client_header_timeout 300ms;
  client_body_timeout 300ms;
  server {
    listen 127.0.0.1:${patientPort};
    client_header_timeout 10s;
    client_body_timeout 10s;
    location / {
      proxy_pass http://hub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost;
    }
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://hub;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host localhost;
      proxy_buffering off;
      proxy_request_buffering off;
    }
    location /sockets/ {
      proxy_pass http://hub/;
      proxy_http_version 1.1;
      proxy_set_header Upgrade websocket;
      proxy_set_header Connection upgrade;
      proxy_set_header Host localhost;
    }
  }`

const config = (folder: string, inside: string) => `
daemon off;
master_process off;
pid ${folder}/pid;
error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  ${inside}
}
`

export interface Nginx extends AsyncDisposable {
  readonly url: string
  /** The server that has patience. */
  readonly patientUrl: string
}

/** An nginx of the test's own before this hub. `inside`: what stands in its `http` section. */
export async function startNginx(hubUrl: string, inside = shared): Promise<Nginx> {
  const folder = mkdtempSync(join(tmpdir(), 'hubline-nginx-'))
  const port = await freePort()
  const patientPort = await freePort()
  writeFileSync(join(folder, 'nginx.conf'), config(folder, inside(port, new URL(hubUrl).host, patientPort)))
  const child = spawn(program ?? 'nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], {
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await once(child, 'spawn')
  await listens(child, port)
  return {
    url: `http://127.0.0.1:${port}`,
    patientUrl: `http://127.0.0.1:${patientPort}`,
    async [Symbol.asyncDispose]() {
      child.kill()
      await once(child, 'close')
      rmSync(folder, { recursive: true })
    },
  }
}

async function listens(child: ChildProcess, port: number): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(port, '127.0.0.1')
    const there = await new Promise(resolve =>
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false)),
    )
    socket.destroy()
    if (there) return
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  throw new Error(`nginx ended with ${child.exitCode} before it listened`)
}
