/** Where the photographs lie that come with this example. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Also from where this file was built to. */
export const PHOTOS = ((): string => {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  return join(root, 'examples/image-compression/photos');
})();
