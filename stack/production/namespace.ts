import { loadEnvironment, temporalConnection } from '../../schemas/environment.ts';
import { ensureNamespace } from '../temporal.ts';

/** One-shot: the Temporal namespace with its retention and search attributes; repeating it changes nothing. */
const environment = loadEnvironment(process.env, ['temporalAddress']);
const { address, tls } = temporalConnection(environment);
await ensureNamespace(address, environment.temporalNamespace, tls);
console.log(`namespace ${environment.temporalNamespace} is ready`);
