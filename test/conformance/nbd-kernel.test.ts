// The NBD client of a Linux kernel: a machine in an emulator mounts a device, fills a file system
// while a node with a copy is killed with its memory, and finds every byte.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { MiB } from '../../src/base/units.js';
import { runCli } from '../support/cli.js';
import { canHaveGuest, Guest } from '../support/guest.js';
import { startRack, supervisorOf, type TestRack, until } from '../support/rack.js';

const PROGRAMS = ['nbd-client', 'mke2fs', 'e2fsck'];
/** Of 1 MiB each; written over and over. */
const FILES = 60;

let rack: TestRack;
let port: string;

async function memrack(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runCli([...args, '--rack', rack.url]);
  expect([args, code, stderr]).toEqual([args, 0, '']);
  return stdout.trim();
}

/** In the guest; what fails ends it. With whole paths, because busybox has programs of its own. */
const script = (): string => `
set -e
/sbin/nbd-client -N disk 10.0.2.2 ${port} /dev/nbd0
/sbin/mke2fs -q -t ext4 /dev/nbd0
mount -t ext4 /dev/nbd0 /mnt
(read line; echo "$line" > /tmp/heard) < /dev/console &
i=0
while [ ! -f /tmp/heard ]; do
  name=f$((i % ${FILES}))
  dd if=/dev/urandom of=/mnt/$name bs=64k count=16 2> /dev/null
  (cd /mnt && sha256sum $name > /tmp/sum.$name)
  i=$((i + 1))
  sync
  if [ $i = 10 ]; then echo GUEST is writing; fi
done
echo GUEST wrote $i files
umount /mnt
echo 3 > /proc/sys/vm/drop_caches
/sbin/e2fsck -f -n /dev/nbd0
mount -t ext4 /dev/nbd0 /mnt
cd /mnt
cat /tmp/sum.* | sha256sum -c -s
cd /
umount /mnt
/sbin/nbd-client -d /dev/nbd0
echo GUEST found every byte
`;

describe.runIf(canHaveGuest(...PROGRAMS))("a kernel's own client", () => {
  beforeAll(async () => {
    rack = await startRack({ nodes: 3, memory: '160MiB', extra: ['--nbd-port', '0'] });
    await memrack('device', 'create', 'disk', '--size', '128MiB', '--replicas', '2');
    port = new URL(await memrack('device', 'uri', 'disk')).port;
  });
  afterAll(() => rack?.stop());

  test('has a file system there, and finds every byte after the loss of a copy', async () => {
    const guest = Guest.start({ programs: PROGRAMS, modules: ['nbd'], script: script() });
    try {
      await guest.heard('GUEST is writing', 90_000);
      const holder = await until(20_000, async () => {
        return (await rack.nodes()).find(({ bytesUsed }) => bytesUsed > MiB);
      });
      process.kill(await supervisorOf(rack, holder.id), 'SIGKILL');
      await new Promise((resolve) => setTimeout(resolve, 4_000));
      guest.say('enough');
      await guest.heard('GUEST found every byte', 90_000);
      expect(guest.output).not.toMatch(/I\/O error/);
    } finally {
      await guest.stop();
    }
  });
});
