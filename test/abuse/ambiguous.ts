export const HOST = 'Host: localhost\r\n'
export const CHUNKED = 'Transfer-Encoding: chunked\r\n'
export const post = (headers: string, body = '') => `POST /topics/front HTTP/1.1\r\n${HOST}${headers}\r\n${body}`
export const get = (headers: string) => `GET /api/stats HTTP/1.1\r\n${headers}\r\n`
export const toApi = (headers: string) =>
  post(`Content-Type: application/json\r\n${headers}`).replace('POST /topics/front', 'PUT /api/topics/a/policy')
/** What an attacker wants to be taken for a request of its own. */
export const HIDDEN = `POST /topics/hidden HTTP/1.1\r\n${HOST}Content-Length: 1\r\n\r\nx`

/** Where two readers could disagree about where a request ends, or whom it is for. */
export const AMBIGUOUS: Readonly<Record<string, string>> = {
  'a length and chunks': post(`Content-Length: 6\r\n${CHUNKED}`, `0\r\n\r\n${HIDDEN}`),
  'chunks and a length': post(`${CHUNKED}Content-Length: 6\r\n`, `0\r\n\r\n${HIDDEN}`),
  'two lengths': post('Content-Length: 1\r\nContent-Length: 60\r\n', `x${HIDDEN}`),
  'the same length twice': post('Content-Length: 1\r\nContent-Length: 1\r\n', `x${HIDDEN}`),
  'a list of lengths': post('Content-Length: 1, 60\r\n', `x${HIDDEN}`),
  'a signed length': post('Content-Length: +1\r\n', `x${HIDDEN}`),
  'a negative length': post('Content-Length: -1\r\n', HIDDEN),
  'a hexadecimal length': post('Content-Length: 0x1\r\n', `x${HIDDEN}`),
  'a coding that is almost chunked': post('Transfer-Encoding: xchunked\r\n', `0\r\n\r\n${HIDDEN}`),
  'chunked, but not last': post('Transfer-Encoding: chunked, identity\r\n', `0\r\n\r\n${HIDDEN}`),
  'chunked twice': post(`${CHUNKED}${CHUNKED}`, `0\r\n\r\n${HIDDEN}`),
  'compressed, then chunked': post('Transfer-Encoding: gzip, chunked\r\n', `0\r\n\r\n${HIDDEN}`),
  'a space before the colon': post('Transfer-Encoding : chunked\r\n', `0\r\n\r\n${HIDDEN}`),
  'chunks in HTTP/1.0': post(CHUNKED, `0\r\n\r\n${HIDDEN}`).replace('HTTP/1.1', 'HTTP/1.0'),
  'a header that goes on in the next line': get(`${HOST}X: a\r\n b\r\n`),
  'lines without a carriage return': `GET /api/stats HTTP/1.1\n${HOST.trim()}\n\n`,
  'one line without a carriage return': get('Host: localhost\nX: y\r\n'),
  'a carriage return in a value': get('Host: localhost\rX: y\r\n'),
  'a zero byte in a value': get(`${HOST}X: a\0b\r\n`),
  'a zero byte in the path': get(HOST).replace('/api', '/\0api'),
  'a chunk of no size': post(CHUNKED, `zz\r\nabc\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk longer than its size': post(CHUNKED, `3\r\nabcd\r\n0\r\n\r\n${HIDDEN}`),
  'a chunk of more than a number can say': post(CHUNKED, `fffffffffffffffff\r\nabc\r\n0\r\n\r\n${HIDDEN}`),
  'a size that ends without a carriage return': post(CHUNKED, `3\nabc\r\n0\r\n\r\n${HIDDEN}`),
  'no host': get(''),
  'two hosts': get('Host: localhost\r\nHost: 127.0.0.1\r\n'),
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'a TLS handshake': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
  'an unknown method': `PUBLISH /topics/front HTTP/1.1\r\n${HOST}\r\n`,
  'a version to come': get(HOST).replace('HTTP/1.1', 'HTTP/9.9'),
}
