// A real OAuth2 server on loopback: client credentials, introspection (RFC 7662), also signed (RFC 9701), revocation (RFC 7009), resource
// indicators (RFC 8707).
//
//   node server.mjs '{"port": 0, "clients": [{"id": "acme-web", "secret": "s3cret", "scope": "orders.read"}]}'
//
// port       0 takes a free one
// clients    id, secret, scope; optional: authentication (basic | post), ttl (seconds that its tokens live, 3600), signed (what it introspects is
//            answered in JWTs if it asks for that)
// resources  indicator (an absolute URI) → {audience, format}; format is opaque (default) or jwt. `resource=` in a token request sets the token's `aud`
//
// /introspection is a second introspection endpoint, for callers with an access token that has the scope `introspect`.
// POST /rotate makes another key, which signs from now on. The earlier ones stay published; with ?withdraw they do not.
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
const makeKey = () => ({ ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' });

const configuration = {
  clients: clients.map(({ id, secret, scope = '', authentication = 'basic', ttl = 3600, signed = false }) => ({
    client_id: id,
    client_secret: secret,
    scope: scope || undefined,
    ttl,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: `client_secret_${authentication}`,
    ...(signed && { introspection_signed_response_alg: 'RS256' }),
  })),
  extraClientMetadata: { properties: ['ttl'] },
  scopes: [...new Set(clients.flatMap(({ scope = '' }) => scope.split(' ').filter(Boolean)))],
  ttl: { ClientCredentials: (_ctx, _token, client) => client.ttl },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    jwtIntrospection: { enabled: true },
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
};

// oidc-provider lets only clients introspect.
const introspectByToken = (provider) => async (ctx, next) => {
  if (ctx.path !== '/introspection') return next();
  const valid = async (value) => {
    const token = value && (await provider.ClientCredentials.find(value));
    return token?.isValid ? token : undefined;
  };
  const own = await valid(ctx.get('authorization').replace(/^Bearer /, ''));
  if (!own?.scope?.split(' ').includes('introspect')) {
    ctx.status = 401;
    return undefined;
  }
  let form = '';
  for await (const chunk of ctx.req) form += chunk;
  const token = await valid(new URLSearchParams(form).get('token'));
  ctx.body = token
    ? { active: true, client_id: token.clientId, scope: token.scope, exp: token.exp, iss: issuer }
    : { active: false };
  return undefined;
};

// A provider keeps the keys that it was made with, so other keys need another one. Tokens and clients are shared by all.
let keys = [];
let answer;
const sign = (published) => {
  keys = published;
  const provider = new Provider(issuer, { ...configuration, jwks: { keys } });
  provider.use(introspectByToken(provider));
  answer = provider.callback();
};
sign([makeKey()]);

server.on('request', (request, response) => {
  const { pathname, searchParams } = new URL(request.url, issuer);
  if (request.method !== 'POST' || pathname !== '/rotate') return answer(request, response);
  sign([makeKey(), ...(searchParams.has('withdraw') ? [] : keys)]);
  return response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
});
process.stdout.write(`${JSON.stringify({ port: server.address().port, issuer })}\n`);
