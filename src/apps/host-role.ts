/** The host's role. Its doors will be put together here. */

export { hostMain } from '../client/host.js';
