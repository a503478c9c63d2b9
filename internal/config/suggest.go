package config

// elsewhere returns the path of the first key of that name below fields, or "".
func elsewhere(key, path string, fields []field) string {
	for i := range fields {
		f := &fields[i]
		at := join(path, f.key)
		if f.key == key {
			return at
		}
		if found := elsewhere(key, at, f.fields); found != "" {
			return found
		}
	}
	return ""
}
