/** The node cannot be started here; the message says why and what to do. */
export class CannotStart extends Error {
  override readonly name = 'CannotStart';
}
