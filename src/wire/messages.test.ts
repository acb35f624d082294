import { expect, test } from 'vitest';
import { REGIONS_PER_SPACE_MAX, SPACE_ID_END } from './limits.js';
import {
  AllocationRequest,
  AllocRequest,
  GrantRegionRequest,
  OpenWindowRequest,
  ProtectRequest,
  RemoveSpaceRequest,
} from './messages.js';
import { Prng } from '../base/prng.js';
import { sampleOf, STRUCTS } from './testing/samples.js';

test('a region that no space can have is refused in every message', () => {
  for (const [name, struct] of STRUCTS) {
    if (!('region' in struct.declaration)) continue;
    const value = sampleOf(struct, new Prng(1), 4);
    for (const region of [0, REGIONS_PER_SPACE_MAX, 2 ** 24 + 5, 2 ** 32 - 1]) {
      expect(struct.invalid({ ...value, region }), `${name} ${region}`).toContain('no region');
    }
    expect(struct.invalid({ ...value, region: REGIONS_PER_SPACE_MAX - 1 }), name).toBeNull();
  }
});

test('a space that would be taken for another one is refused in every request', () => {
  const space = SPACE_ID_END + 1;
  const at = { address: 0, nonce: 1 };
  const alloc = { region: 1, bytes: 1, wish: 0, flags: 0, nonce: 1 };
  const grant = { region: 1, epoch: 1, pageBytes: 65536, memoryId: 1 };
  const refusals = [
    OpenWindowRequest.invalid({ space, rights: 3 }),
    AllocRequest.invalid({ space, ...alloc }),
    AllocationRequest.invalid({ space, ...at }),
    ProtectRequest.invalid({ space, rights: 3, address: 0, bytes: 1 }),
    GrantRegionRequest.invalid({ space, ...grant }),
    RemoveSpaceRequest.invalid({ space }),
  ];
  for (const refusal of refusals) expect(refusal).toContain('no space');
  expect(AllocRequest.invalid({ space: SPACE_ID_END - 1, ...alloc })).toBeNull();
});
