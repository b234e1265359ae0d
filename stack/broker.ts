import { createServer } from 'node:net';
import { Aedes } from 'aedes';

/**
 * The MQTT broker of the local laboratory (MQTT 3.1.1), a process of its own on the loopback.
 *   tsx stack/broker.ts --port N
 */
const flag = process.argv.indexOf('--port');
const port = Number(process.argv[flag + 1]);
if (flag < 0 || !Number.isInteger(port)) throw new Error('usage: stack/broker.ts --port N');

const broker = await Aedes.createBroker();
const server = createServer(broker.handle);
server.on('error', (error) => {
  console.error(`the broker cannot listen on port ${port}: ${error.message}`);
  process.exit(1);
});
server.listen(port, '127.0.0.1', () => console.log(JSON.stringify({ ready: true, port })));

const stop = () => broker.close(() => server.close(() => process.exit(0)));
process.once('SIGTERM', stop);
process.once('disconnect', stop); // whoever started it is gone
