package stream

import (
	"reflect"
	"time"
)

// needKey notes a fault if keys of a type cannot be those of rows. In memory keys are compared by ==, and in the store by their
// bytes: where two of the same bytes are not ==, there would be two rows of one key.
func needKey[K any](t *Topology, op string) {
	if what := notByValue(reflect.TypeFor[K]()); what != "" {
		t.fail(op, "keys are %v and hold %s: two of the same bytes are not always ==. Make keys of strings, numbers, and structs and arrays of these", reflect.TypeFor[K](), what)
	}
}

// notByValue returns what in values of a type is not compared by what it holds, "" if there is nothing. Floats pass: of them NaN
// alone is not.
func notByValue(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "a time.Time, with its time zone"
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.UnsafePointer:
		return "a pointer"
	case t.Kind() == reflect.Interface:
		return "an interface"
	case t.Kind() == reflect.Chan:
		return "a channel"
	case t.Kind() == reflect.Array:
		return notByValue(t.Elem())
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			if what := notByValue(f.Type); what != "" {
				return what
			}
		}
	}
	return ""
}
