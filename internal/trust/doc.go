// Package trust says who may decide what about models, and proves who did: keys, signatures, and the root document
// that names people, their keys and what is demanded of them.
//
// Signatures are ed25519 (RFC 8032). What is signed is in a DSSE envelope, as
// https://github.com/secure-systems-lab/dsse has it, version 1: the signature covers the type of the payload and its
// very bytes, so that nothing is made canonical and nothing is parsed before it was verified. Decisions are in-toto
// statements, https://github.com/in-toto/attestation/tree/main/spec/v1: [Claim].
//
// A [Root] lists the people with their keys and roles, and the policy. It is signed by a threshold of root keys, and so
// is the next version of it, by those of both versions, as in The Update Framework
// (https://theupdateframework.github.io/specification/latest/#update-root). Beyond TUF it holds the digest of the version
// before it, so that whoever trusts a later version can also tell the earlier ones. It does not expire: a stream must not
// end because nobody signed anything for a year.
//
// The package reads no clock and writes no file. Its values are safe for concurrent use, once made.
package trust
