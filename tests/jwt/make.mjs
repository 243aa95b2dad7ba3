// Makes tests/jwt/fixtures.json: keys, tokens that are valid at 2026-11-20T12:00:00Z, and tokens of attackers.
//
//   node tests/jwt/make.mjs > tests/jwt/fixtures.json
//
// The private keys are thrown away. Whoever needs another token makes all of them again.

import { constants, createHmac, generateKeyPairSync, sign } from 'node:crypto';

const NOW = 1_795_176_000;
const ISSUER = 'https://idp';

const b64 = (bytes) => Buffer.from(bytes).toString('base64url');
const json = (value) => (typeof value === 'string' ? value : JSON.stringify(value));
const signed = (header, payload, signature) => {
  const input = `${b64(json(header))}.${b64(json(payload))}`;
  return `${input}.${b64(signature(Buffer.from(input)))}`;
};

const pair = (type, options) => generateKeyPairSync(type, options);
const rsa = pair('rsa', { modulusLength: 2048 });
const wide = pair('rsa', { modulusLength: 4096 });
const next = pair('rsa', { modulusLength: 2048 });
const small = pair('rsa', { modulusLength: 1024 });
const p256 = pair('ec', { namedCurve: 'P-256' });
const p384 = pair('ec', { namedCurve: 'P-384' });
const p521 = pair('ec', { namedCurve: 'P-521' });
const ed = pair('ed25519');
const evil = pair('rsa', { modulusLength: 2048 });

const jwk = ({ publicKey }, more) => ({ ...publicKey.export({ format: 'jwk' }), ...more });
const pem = ({ publicKey }) => publicKey.export({ type: 'spki', format: 'pem' });

const rs = (hash, { privateKey }) => (data) => sign(hash, data, privateKey);
const ps = (hash, { privateKey }, saltLength = constants.RSA_PSS_SALTLEN_DIGEST) => (data) =>
  sign(hash, data, { key: privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength });
const es = (hash, { privateKey }, dsaEncoding = 'ieee-p1363') => (data) => sign(hash, data, { key: privateKey, dsaEncoding });
const eddsa = ({ privateKey }) => (data) => sign(null, data, privateKey);
const hmac = (secret) => (data) => createHmac('sha256', secret).update(data).digest();
const constant = (bytes) => () => Buffer.from(bytes);

const claims = {
  iss: ISSUER, sub: 'alice', aud: ['orders', 'files'], client_id: 'acme-web', scope: 'orders.read orders.write',
  iat: NOW - 10, exp: NOW + 3600, email: 'alice@example.com', org: { id: 'acme', level: 3 },
  realm_access: { roles: ['reader', 'writer'] }, 'https://example.com/team': 'blue',
};
const without = (...names) => Object.fromEntries(Object.entries(claims).filter(([name]) => !names.includes(name)));
const text = (more) => `${JSON.stringify(claims).slice(0, -1)},${more}}`;
const typical = { alg: 'RS256', kid: 'rsa', typ: 'JWT' };
const by_rsa = rs('sha256', rsa);

const valid = {
  RS256: signed(typical, claims, by_rsa),
  RS384: signed({ alg: 'RS384', kid: 'rsa' }, claims, rs('sha384', rsa)),
  RS512: signed({ alg: 'RS512', kid: 'rsa', typ: 'at+jwt' }, claims, rs('sha512', rsa)),
  PS256: signed({ alg: 'PS256', kid: 'rsa' }, claims, ps('sha256', rsa)),
  PS384: signed({ alg: 'PS384', kid: 'rsa' }, claims, ps('sha384', rsa)),
  PS512: signed({ alg: 'PS512', kid: 'rsa' }, claims, ps('sha512', rsa)),
  RS256_4096: signed({ alg: 'RS256', kid: 'wide' }, claims, rs('sha256', wide)),
  ES256: signed({ alg: 'ES256', kid: 'p256' }, claims, es('sha256', p256)),
  ES384: signed({ alg: 'ES384', kid: 'p384' }, claims, es('sha384', p384)),
  ES512: signed({ alg: 'ES512', kid: 'p521' }, claims, es('sha512', p521)),
  EdDSA: signed({ alg: 'EdDSA', kid: 'ed' }, claims, eddsa(ed)),
  unnamed_ES256: signed({ alg: 'ES256' }, claims, es('sha256', p256)),
  other_rsa: signed({ alg: 'RS256', kid: 'next' }, claims, rs('sha256', next)),
  no_scope: signed(typical, without('scope'), by_rsa),
  other_client: signed(typical, { ...claims, client_id: 'globex-web' }, by_rsa),
  brief: signed(typical, { ...claims, exp: NOW + 60 }, by_rsa),
  other_issuer: signed(typical, { ...claims, iss: 'https://other' }, by_rsa),
};

const [head, body, signature] = valid.RS256.split('.');
const raw = Buffer.from(signature, 'base64url');
const flipped = Buffer.from(raw);
flipped[100] ^= 1;
const cut = (token, bytes) => {
  const parts = token.split('.');
  return [parts[0], parts[1], b64(Buffer.from(parts[2], 'base64url').subarray(0, bytes))].join('.');
};
const order256 = 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551';
const es256 = { alg: 'ES256', kid: 'p256' };

// Each is refused with code 22.
const refused = {
  none: `${b64('{"alg":"none"}')}.${body}.`,
  none_with_signature: `${b64('{"alg":"none","kid":"rsa"}')}.${body}.${signature}`,
  hmac_with_pem: signed({ alg: 'HS256', kid: 'rsa' }, claims, hmac(pem(rsa))),
  hmac_with_modulus: signed({ alg: 'HS256', kid: 'rsa' }, claims, hmac(Buffer.from(jwk(rsa).n, 'base64url'))),
  hmac_with_oct_key: signed({ alg: 'HS256', kid: 'oct' }, claims, hmac('secret')),
  signed_by_another: signed(typical, claims, rs('sha256', evil)),
  embedded_jwk: signed({ ...typical, jwk: jwk(evil) }, claims, rs('sha256', evil)),
  embedded_jwk_unknown_kid: signed({ alg: 'RS256', kid: 'evil', jwk: jwk(evil, { kid: 'evil' }) }, claims, rs('sha256', evil)),
  jku: signed({ ...typical, jku: 'https://evil/keys' }, claims, rs('sha256', evil)),
  x5u_and_x5c: signed({ ...typical, x5u: 'https://evil/cert', x5c: ['MIIB'] }, claims, rs('sha256', evil)),
  kid_path: signed({ alg: 'RS256', kid: '../../../dev/null' }, claims, rs('sha256', evil)),
  kid_sql: signed({ alg: 'RS256', kid: "x' UNION SELECT 'key" }, claims, rs('sha256', evil)),
  kid_empty: signed({ alg: 'RS256', kid: '' }, claims, by_rsa),
  kid_number: signed('{"alg":"RS256","kid":1}', claims, by_rsa),
  kid_of_encryption_key: signed({ alg: 'RS256', kid: 'enc' }, claims, rs('sha256', evil)),
  kid_of_small_key: signed({ alg: 'RS256', kid: 'small' }, claims, rs('sha256', small)),
  curve_of_another: signed({ alg: 'ES256', kid: 'p384' }, claims, es('sha256', p384)),
  ec_as_rsa: signed({ alg: 'RS256', kid: 'p256' }, claims, es('sha256', p256)),
  rsa_as_ec: signed({ alg: 'ES256', kid: 'rsa' }, claims, by_rsa),
  not_the_keys_algorithm: signed({ alg: 'PS256', kid: 'only' }, claims, ps('sha256', next)),
  hash_of_another: signed({ alg: 'RS256', kid: 'rsa' }, claims, rs('sha384', rsa)),
  pss_as_pkcs1: signed({ alg: 'RS256', kid: 'rsa' }, claims, ps('sha256', rsa)),
  pkcs1_as_pss: signed({ alg: 'PS256', kid: 'rsa' }, claims, by_rsa),
  pss_without_salt: signed({ alg: 'PS256', kid: 'rsa' }, claims, ps('sha256', rsa, 0)),
  pss_short_salt: signed({ alg: 'PS256', kid: 'rsa' }, claims, ps('sha256', rsa, 20)),
  pss_longest_salt: signed({ alg: 'PS256', kid: 'rsa' }, claims, ps('sha256', rsa, constants.RSA_PSS_SALTLEN_MAX_SIGN)),
  no_kid_and_two_keys_fit: signed({ alg: 'RS256' }, claims, by_rsa),
  flipped_bit: `${head}.${body}.${b64(flipped)}`,
  truncated: cut(valid.RS256, 255),
  truncated_ES256: cut(valid.ES256, 63),
  truncated_EdDSA: cut(valid.EdDSA, 32),
  extended: `${head}.${body}.${b64(Buffer.concat([raw, Buffer.from([0])]))}`,
  zeros_RS256: signed(typical, claims, constant(new Uint8Array(256))),
  ones_RS256: signed(typical, claims, constant(new Uint8Array(256).fill(255))),
  one_RS256: signed(typical, claims, constant([...new Uint8Array(255), 1])),
  modulus_RS256: signed(typical, claims, constant(Buffer.from(jwk(rsa).n, 'base64url'))),
  zeros_PS256: signed({ alg: 'PS256', kid: 'rsa' }, claims, constant(new Uint8Array(256))),
  zeros_ES256: signed(es256, claims, constant(new Uint8Array(64))),
  zero_r_ES256: signed(es256, claims, constant([...new Uint8Array(63), 1])),
  zero_s_ES256: signed(es256, claims, constant([...new Uint8Array(31), 1, ...new Uint8Array(32)])),
  order_ES256: signed(es256, claims, constant(Buffer.from(order256 + order256, 'hex'))),
  der_ES256: signed(es256, claims, es('sha256', p256, 'der')),
  zeros_ES384: signed({ alg: 'ES384', kid: 'p384' }, claims, constant(new Uint8Array(96))),
  zeros_ES512: signed({ alg: 'ES512', kid: 'p521' }, claims, constant(new Uint8Array(132))),
  zeros_EdDSA: signed({ alg: 'EdDSA', kid: 'ed' }, claims, constant(new Uint8Array(64))),
  weak_EdDSA: signed({ alg: 'EdDSA', kid: 'weak' }, claims, constant([1, ...new Uint8Array(63)])),
  other_claims: `${head}.${b64(json({ ...claims, scope: 'admin' }))}.${signature}`,
  other_header: `${b64(json({ ...typical, x: 1 }))}.${body}.${signature}`,
  duplicate_exp: signed(typical, text(`"exp":${NOW + 7200}`), by_rsa),
  duplicate_scope: signed(typical, text('"scope":"admin"'), by_rsa),
  duplicate_alg: signed('{"alg":"none","alg":"RS256","kid":"rsa"}', claims, by_rsa),
  duplicate_kid: signed('{"alg":"RS256","kid":"evil","kid":"rsa"}', claims, by_rsa),
  exp_missing: signed(typical, without('exp'), by_rsa),
  exp_text: signed(typical, { ...claims, exp: `${NOW + 3600}` }, by_rsa),
  exp_huge: signed(typical, JSON.stringify(claims).replace(`${NOW + 3600}`, '1e300'), by_rsa),
  exp_infinite: signed(typical, JSON.stringify(claims).replace(`${NOW + 3600}`, '1e999'), by_rsa),
  exp_negative: signed(typical, { ...claims, exp: -1 }, by_rsa),
  exp_in_milliseconds: signed(typical, { ...claims, exp: (NOW + 3600) * 1000 }, by_rsa),
  exp_passed: signed(typical, { ...claims, exp: NOW - 31 }, by_rsa),
  nbf_in_future: signed(typical, { ...claims, nbf: NOW + 31 }, by_rsa),
  iat_in_future: signed(typical, { ...claims, iat: NOW + 31 }, by_rsa),
  issuer_missing: signed(typical, without('iss'), by_rsa),
  issuer_with_slash: signed(typical, { ...claims, iss: `${ISSUER}/` }, by_rsa),
  sender_constrained: signed(typical, { ...claims, cnf: { jkt: 'x' } }, by_rsa),
  critical: signed({ ...typical, crit: ['exp'] }, claims, by_rsa),
  unencoded_payload: signed({ ...typical, b64: false, crit: ['b64'] }, claims, by_rsa),
  typ_of_logout: signed({ ...typical, typ: 'logout+jwt' }, claims, by_rsa),
  typ_of_dpop: signed({ ...typical, typ: 'dpop+jwt' }, claims, by_rsa),
  keycloak_refresh: signed(typical, { ...claims, typ: 'Refresh' }, by_rsa),
  keycloak_offline: signed(typical, { ...claims, typ: 'Offline' }, by_rsa),
  keycloak_id: signed(typical, { ...claims, typ: 'ID' }, by_rsa),
  cognito_id: signed(typical, { ...claims, token_use: 'id' }, by_rsa),
  id_token: signed(typical, { ...claims, at_hash: 'x' }, by_rsa),
  claims_in_a_list: signed(typical, [claims], by_rsa),
  claims_not_json: signed(typical, 'claims', by_rsa),
  jwe: `${head}.${body}.${signature}.${signature}.${signature}`,
  two_parts: `${head}.${body}`,
  padded: `${head}.${body}.${signature}==`,
  standard_base64: `${head}.${body}.${raw.toString('base64').replace(/=+$/, '')}`.replace(/[-_]/g, '+'),
};

const weak = { kty: 'OKP', crv: 'Ed25519', x: b64([1, ...new Uint8Array(31)]), kid: 'weak' };
const keys = [
  jwk(rsa, { kid: 'rsa', use: 'sig' }),
  jwk(wide, { kid: 'wide', key_ops: ['verify'] }),
  jwk(p256, { kid: 'p256' }), jwk(p384, { kid: 'p384', alg: 'ES384' }), jwk(p521, { kid: 'p521' }), jwk(ed, { kid: 'ed' }),
  jwk(next, { kid: 'only', alg: 'RS256' }),
  jwk(evil, { kid: 'enc', use: 'enc' }),
  jwk(small, { kid: 'small' }), weak,
  { kty: 'oct', kid: 'oct', k: b64('secret') }, { kty: 'new', kid: 'new' }, { kty: 'EC', crv: 'secp256k1', kid: 'k', x: 'AA', y: 'AA' },
];
const rotated = [...keys.slice(1), jwk(next, { kid: 'next' })];

console.log(JSON.stringify({
  issuer: ISSUER, valid, refused, keys: { keys }, rotated: { keys: rotated },
  pem: { rsa: pem(rsa), p256: pem(p256), p384: pem(p384), p521: pem(p521), ed: pem(ed), small: pem(small) },
}, null, 1));
