import { issueCertificates, type Party } from '../cluster/certificates.ts';

/**
 * The parties of docker-compose.yml. Each gets a volume of its own under the given folder, owned by the user its image
 * runs as, so that none can read another's key.
 */
const PARTIES: readonly Party[] = [
  { name: 'temporal', hosts: ['temporal', 'localhost', '127.0.0.1'], owner: 1000 },
  { name: 'temporal-ui', hosts: ['temporal-ui'], owner: 5000 },
  { name: 'temporal-database', hosts: ['temporal-database'], owner: 999 },
  { name: 'database', hosts: ['database'], owner: 999 },
  { name: 'mqtt', hosts: ['mqtt', 'localhost'], owner: 1883 },
  { name: 'redis', hosts: ['redis', 'localhost'], owner: 999 },
  { name: 'proxy', hosts: [process.env.PUBLIC_HOST || 'localhost', 'proxy'], owner: 1000 },
  { name: 'tracseq', hosts: ['api', 'control', 'gateway', 'relay', 'sweep'], owner: 1000 },
];

const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error('name the folder that the certificates go to');
const issued = issueCertificates(directory, PARTIES);
console.log(issued.length === 0 ? 'all certificates are good' : `issued for ${issued.join(', ')}`);
