package auth

// Algorithms returns the signatures of JSON Web Tokens that an issuer can have: those with a public key. "none" and those
// with a secret that both sides share are not among them.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}
