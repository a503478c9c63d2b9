package table

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"

	"millrace.dev/codec"
)

// appendObject appends a JSON object with the values of a record of a database that are there.
func (r *Ranges) appendObject(dst []byte, values []any) []byte {
	dst = append(dst, '{')
	for i, v := range values {
		if v == nil {
			continue
		}
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, r.schema.Field(i).Name)
		dst = append(dst, ':')
		dst = appendValue(dst, v)
	}
	return append(dst, '}')
}

// appendValue appends a value as the database's reader gives it. What no field can hold becomes an array.
func appendValue(dst []byte, v any) []byte {
	switch v := v.(type) {
	case string:
		return appendText(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case float64:
		return appendFloat(dst, v)
	case float32:
		return appendFloat32(dst, v)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case uint32:
		return strconv.AppendUint(dst, uint64(v), 10)
	case uint16:
		return strconv.AppendUint(dst, uint64(v), 10)
	case int32:
		return strconv.AppendInt(dst, int64(v), 10)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case *big.Int:
		return v.Append(dst, 10)
	default:
		return append(dst, "[]"...)
	}
}

// appendFloat appends a number; one that JSON cannot say is what no field can hold.
func appendFloat(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "[]"...)
	}
	return codec.AppendFloat(dst, v)
}

// appendFloat32 appends a number with the digits that tell it from other float32, as it was written.
func appendFloat32(dst []byte, v float32) []byte {
	if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "[]"...)
	}
	return strconv.AppendFloat(dst, float64(v), 'g', -1, 32)
}

// appendText appends a text as a JSON string. What is not UTF-8 is no text, and the row's decoder says so.
func appendText(dst []byte, text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		panic("table: " + err.Error()) // a string can be written
	}
	return append(dst, b...)
}
