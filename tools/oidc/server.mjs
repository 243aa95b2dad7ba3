// A real OAuth2 server on loopback: client credentials, introspection (RFC 7662), revocation (RFC 7009), resource indicators (RFC 8707).
//
//   node server.mjs '{"port": 0, "clients": [{"id": "acme-web", "secret": "s3cret", "scope": "orders.read"}]}'
//
// port       0 takes a free one
// clients    id, secret, scope; optional: authentication (basic | post), ttl (seconds that its tokens live, 3600)
// resources  indicator (an absolute URI) → {audience, format}; format is opaque (default) or jwt. `resource=` in a token request sets the token's `aud`
//
// Prints one line of JSON on standard output once it listens: {"port": …, "issuer": …}. Everything else goes to standard error.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';

console.info = console.warn = console.error;
const { default: Provider, errors } = await import('oidc-provider');

const { port = 0, clients = [], resources = {} } = JSON.parse(process.argv[2] ?? '{}');

const server = createServer();
await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

// A key of its own: a server that is started again has another one.
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  clients: clients.map(({ id, secret, scope = '', authentication = 'basic', ttl = 3600 }) => ({
    client_id: id,
    client_secret: secret,
    scope: scope || undefined,
    ttl,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: `client_secret_${authentication}`,
  })),
  extraClientMetadata: { properties: ['ttl'] },
  scopes: [...new Set(clients.flatMap(({ scope = '' }) => scope.split(' ').filter(Boolean)))],
  ttl: { ClientCredentials: (_ctx, _token, client) => client.ttl },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_ctx, indicator, client) {
        const resource = resources[indicator];
        if (!resource) throw new errors.InvalidTarget();
        return { audience: resource.audience, scope: client.scope, accessTokenFormat: resource.format ?? 'opaque' };
      },
    },
  },
});

server.on('request', provider.callback());
process.stdout.write(`${JSON.stringify({ port: server.address().port, issuer })}\n`);
