// The page of the server: messages go over a WebSocket, uploads by POST.
import { mount } from './app.js';
import { Socket } from './transport.js';

mount(document.getElementById('app'), new Socket(), { address: true });
