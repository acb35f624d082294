/** The flags by which the NBD door speaks over TLS. */

import { resolve } from 'node:path';
import type { Command } from 'commander';
import { ConfigError } from '../base/config-error.js';
import { NBD_TLS_KEYS, type NbdTlsFiles, tlsProblems } from '../client/host.js';
import type { Configuration } from './configuration.js';

export function withNbdTls(command: Command): Command {
  return command
    .option('--nbd-tls-certificate <file>', 'NBD over TLS alone, with this certificate (PEM)')
    .option('--nbd-tls-key <file>', 'the key of that certificate (PEM)')
    .option('--nbd-tls-client-ca <file>', 'authorities (PEM) of whom clients show a certificate')
    .option('--nbd-tls-psk <file>', 'NBD over TLS alone, with keys that clients know: name:hexkey');
}

/** Paths as the role finds them, wherever it runs. Throws a `ConfigError`. */
export function nbdTlsFiles(flags: NbdTlsFiles, configuration: Configuration): NbdTlsFiles {
  const given = NBD_TLS_KEYS.map((key) => [key, flags[key] ?? configuration[key]] as const);
  const files: NbdTlsFiles = Object.fromEntries(
    given.flatMap(([key, path]) => (path === undefined ? [] : [[key, resolve(path)]])),
  );
  const problems = tlsProblems(files);
  if (problems.length > 0) throw new ConfigError('command line', problems);
  return files;
}
