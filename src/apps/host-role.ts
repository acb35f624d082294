/** The host's role. */

export { hostMain } from '../doors/host.js';
