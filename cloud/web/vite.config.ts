import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** Where `npm run dev` finds the API: the simulated fleet of `npm run fleet`, or a real avl-cloud. */
const api = process.env.AVL_API ?? 'http://127.0.0.1:8090';

const proxy = { '/api': { target: api, ws: true }, '/sign-in': { target: api }, '/healthz': { target: api } };

export default defineConfig({
  plugins: [react()],
  publicDir: 'generated',
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // A data URL for a font or an image would need a wider content security policy.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1500,
  },
  server: { proxy },
  preview: { proxy },
});
