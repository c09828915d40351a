import 'maplibre-gl/dist/maplibre-gl.css';
import './ui/fonts.css';
import './ui/base.css';
import './map/map.css';
import './panel/panel.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { startSession } from './session';

const root = document.getElementById('root');
if (!root) throw new Error('index.html has no element #root');
void startSession();
createRoot(root).render(<StrictMode><App /></StrictMode>);
