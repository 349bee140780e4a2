/** What players take as "length unknown": the largest size that the field holds, as encoders write it to a pipe. */
export const UNKNOWN_SIZE = 0xffffffff
export const WAV_HEADER_BYTES = 44

/** Header of an endless WAV stream: 16-bit PCM, one channel. */
export function wavHeader(sampleRate: number): Uint8Array {
  const bytesPerSample = 2
  const header = new Uint8Array(WAV_HEADER_BYTES)
  const view = new DataView(header.buffer)
  const tag = (offset: number, text: string): void => {
    for (let i = 0; i < text.length; i++) view.setUint8(offset + i, text.charCodeAt(i))
  }
  tag(0, 'RIFF')
  view.setUint32(4, UNKNOWN_SIZE, true)
  tag(8, 'WAVEfmt ')
  view.setUint32(16, 16, true) // bytes of the format part
  view.setUint16(20, 1, true) // PCM
  view.setUint16(22, 1, true) // channels
  view.setUint32(24, sampleRate, true)
  view.setUint32(28, sampleRate * bytesPerSample, true)
  view.setUint16(32, bytesPerSample, true)
  view.setUint16(34, 8 * bytesPerSample, true)
  tag(36, 'data')
  view.setUint32(40, UNKNOWN_SIZE, true)
  return header
}
