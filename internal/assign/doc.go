// Package assign says which arm of an experiment a key goes to: always the same one, on any instance, before and after a restart, in any
// language.
//
// A key has one of 10,000 slots: the first eight bytes of the SHA-256 of the experiment's salt, a zero byte and the key, as an unsigned
// number with the highest byte first, modulo 10,000. Each slot belongs to one arm. In Python:
//
//	import hashlib
//
//	def slot(salt, key):
//	    digest = hashlib.sha256(salt.encode() + b"\0" + key).digest()
//	    return int.from_bytes(digest[:8], "big") % 10000
//
// Which slots an arm has depends on the weights that there have been: when they change, [Allocation.Resize] moves as few slots as the new
// weights allow, and only from arms that shrink to arms that grow. So an allocation is kept with the experiment, and not computed from
// weights anew.
package assign
