/** What an endpoint offers to whoever serves calls; a test has its own. */

import type { CallHandler } from '../../fabric/serve.js';
import type { CallType } from '../../wire/messages.js';

export interface CallServer {
  serve<T extends CallType>(type: T, handler: CallHandler<T>): void;
}
