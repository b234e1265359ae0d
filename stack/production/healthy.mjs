// Health check inside a container: is the address answered with a 2xx?
const address = process.argv[2] ?? '';
const reply = await fetch(address, { signal: AbortSignal.timeout(4000) }).catch(() => undefined);
process.exit(reply?.ok ? 0 : 1);
