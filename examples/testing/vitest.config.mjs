// Vitest's defaults, and not those of the repository around this folder.
export default { cacheDir: '../../node_modules/.vite' }
