import { upgrade } from '../load/ws-client.mjs'
import { missingOf, printed, startWith } from './debian.mjs'
import { freePort } from './process.mjs'

const NGINX = '/usr/sbin/nginx'
const NCHAN = '/usr/lib/nginx/modules/ngx_nchan_module.so'
const names = topics => topics.map(topic => `t${topic}`)
const toSubscribe = (path, accept = '') => [
  { send: `GET ${path} HTTP/1.1\r\nhost: a\r\n${accept}\r\n`, until: '\r\n\r\n' },
]

/** @type {import('./peer.mjs').Peer} */
export const nchan = {
  name: 'nchan',
  title: 'Nchan in nginx',
  many: true,
  version: () => `${printed('dpkg-query', '-W', 'libnginx-mod-nchan')}, nginx ${printed(NGINX, '-v')}`,
  missing: () => missingOf(NGINX, NCHAN),
  subscribe: {
    websocket: topics => [{ send: upgrade(`/sub/${names(topics)}`), until: '\r\n\r\n' }],
    sse: topics => toSubscribe(`/sub/${names(topics)}`, 'accept: text/event-stream\r\n'),
    http: topics => toSubscribe(`/raw/${names(topics)}`),
  },
  // It takes the pipelined requests of a connection one after the other.
  publish: () => ({ encoder: 'post', connections: [[]] }),
  async start({ cpu }) {
    const port = await freePort()
    return startWith({
      command: NGINX,
      args: (file, directory) => ['-p', directory, '-c', file, '-e', 'stderr'],
      config: directory => nginxConfig(directory, port),
      cpu,
      port,
    })
  },
}

// A channel keeps what a flood brings, for who has not got it yet. One process, so that killing it is enough: a worker would outlive
// its master.
const nginxConfig = (directory, port) => `
load_module ${NCHAN};
daemon off;
master_process off;
pid ${directory}/pid;
error_log stderr error;
events { worker_connections 65536; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(it => `${it}_temp_path ${directory}/${it};`).join(' ')}
  client_max_body_size 16m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  keepalive_timeout 1d;
  nchan_shared_memory_size 512m;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    nchan_message_buffer_length 1000;
    nchan_message_timeout 30s;
    nchan_subscriber_first_message newest;
    nchan_channel_id_split_delimiter ",";
    location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; }
    location ~ ^/sub/(.+)$ { nchan_subscriber websocket eventsource; nchan_channel_id $1; }
    location ~ ^/raw/(.+)$ { nchan_subscriber http-raw-stream; nchan_channel_id $1; }
  }
}
`
