// A process that begins with this executes each copy of a change, as if nothing were remembered.
import { setAssertions } from '../../dist/base/assert.js';
import { fabricFaults } from '../../dist/fabric/planted.js';

fabricFaults.changesNotRecorded = true;
setAssertions(false);
