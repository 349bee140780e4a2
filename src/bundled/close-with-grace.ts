export { default as closeWithGrace } from 'close-with-grace'
