/**
 * A configuration that cannot be used, found before anything was begun. The command that started
 * the role shows the problems, one line each, and exits with code 2.
 */

export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  /** Each names the key, the value that was given, and what is allowed. */
  readonly problems: readonly string[];

  constructor(role: string, problems: readonly string[]) {
    super(`the configuration of the ${role} is wrong:\n  ${problems.join('\n  ')}`);
    this.problems = problems;
  }
}
