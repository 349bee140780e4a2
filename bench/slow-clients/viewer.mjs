// A viewer that reads all it gets, in a process of its own, perhaps in a network namespace. Says what came when asked, and begins anew.
import { connect } from 'node:net'
import { PictureReader } from './pictures.mjs'

const [host, port, path = '/'] = process.argv.slice(2)
let reader = new PictureReader()
const socket = connect(Number(port), host)
socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
socket.on('data', data => reader.read(/** @type {Buffer} */ (data)))
process.on('message', () => {
  const ages = reader.ages.sort((a, b) => a - b)
  process.send?.({ bytes: reader.bytes, pictures: ages.length, median: ages[ages.length >> 1] ?? 0 })
  reader = new PictureReader()
})
process.send?.('ready')
