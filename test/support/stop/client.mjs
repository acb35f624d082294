// A client of the stop loop, in a process of its own that may be stopped or killed at any moment.
// It ends by itself, with 0, after it was told to over its channel; with 3 where it saw something
// that must never be.
import { connect } from 'memrack';
import { endProcess } from '../../../dist/runtime/node/end-process.js';
import { Counting } from './counting.mjs';
import { below, fail, persist, sleep } from './helpers.mjs';
import { Ledger } from './ledger.mjs';
import { Owning } from './owning.mjs';
import { Touching } from './touching.mjs';

const plan = JSON.parse(process.argv[2]);
const life = { isEnding: false };

async function connected() {
  const options = { link: plan.link, timeoutMs: 8000 };
  const { value: rack } = await persist('connect', () => connect(plan.url, options));
  const { value: space } = await persist('space', () => rack.space(plan.space));
  return { rack, space };
}

process.on('message', () => (life.isEnding = true));
// Whoever started this is gone.
process.on('disconnect', () => {
  if (!life.isEnding) endProcess(0);
});
process.on('unhandledRejection', (error) => fail(`nobody waited for: ${error?.stack}`));

const { rack, space } = await connected();
const ledger = new Ledger(plan.ledger, plan.items.count);
const counting = new Counting(space, plan, ledger);
const touching = [new Touching(rack, space, plan), new Touching(rack, space, plan)];
process.send('ready');
const owning = plan.isOwner ? [new Owning(space, plan)] : [];
await Promise.all([
  ...touching.map((one) => one.run(life)),
  ...owning.map((one) => one.run(life)),
  counting.run(life, counting.add),
  counting.run(life, counting.swap),
  counting.run(life, counting.multi),
  counting.run(life, counting.underLock),
  ...plan.registers[plan.number].map(() => counting.run(life, counting.registerLane())),
]);
await sleep(below(20));
await rack.close();
ledger.close();
const touches = touching.reduce((sum, one) => sum + one.touches, 0);
process.send({ touches, operations: counting.operations }, () => process.disconnect());
