package codec

// skip checks the value at data[i], which lies inside depth nested values, and returns the offset after it; -1
// on a fault.
func (d *JSON) skip(data []byte, i, depth int) int {
	if i >= len(data) {
		d.fault.set(ClassInvalidJSON, "", i, "the record ends before a value")
		return -1
	}
	switch c := data[i]; {
	case c == '"':
		end := plainText(data, i+1)
		if end < len(data) && data[end] == '"' { // as most strings
			return end + 1
		}
		if end, _ = scanText(data, end, &d.fault); end < 0 {
			return -1
		}
		return end + 1
	case c == '-' || c-'0' <= 9:
		end, ok := scanNumber(data, i)
		if !ok {
			d.fault.set(ClassInvalidJSON, "", end, "no number is spelled like this")
			return -1
		}
		return end
	case c == '{' || c == '[':
		if depth >= MaxDepth {
			d.fault.set(ClassTooDeep, "", i, "more nested values than are allowed")
			return -1
		}
		if c == '[' {
			return d.skipArray(data, i+1, depth+1)
		}
		return d.skipObject(data, i+1, depth+1)
	case c == 't':
		return d.literal(data, i, "true")
	case c == 'f':
		return d.literal(data, i, "false")
	case c == 'n':
		return d.literal(data, i, "null")
	default:
		d.fault.set(ClassInvalidJSON, "", i, "no value starts like this")
		return -1
	}
}

func (d *JSON) literal(data []byte, i int, word string) int {
	if len(data)-i < len(word) || string(data[i:i+len(word)]) != word {
		d.fault.set(ClassInvalidJSON, "", i, "no value is spelled like this")
		return -1
	}
	return i + len(word)
}

func (d *JSON) skipArray(data []byte, i, depth int) int {
	if i = skipSpace(data, i); i < len(data) && data[i] == ']' {
		return i + 1
	}
	for more := true; more; {
		if i = d.skip(data, i, depth); i < 0 {
			return -1
		}
		i, more = d.next(data, i, ']')
	}
	return i
}

func (d *JSON) skipObject(data []byte, i, depth int) int {
	d.objects++
	object := d.objects
	if i = skipSpace(data, i); i < len(data) && data[i] == '}' {
		return i + 1
	}
	for more := true; more; {
		at := i
		var name []byte
		if name, i = d.name(data, i); i < 0 {
			return -1
		}
		if !d.set.add(object, name) {
			d.fault.set(ClassDuplicateKey, "", at, "the object has this key twice")
			return -1
		}
		if i = d.skip(data, skipSpace(data, i), depth); i < 0 {
			return -1
		}
		i, more = d.next(data, i, '}')
	}
	return i
}
