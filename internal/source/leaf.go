package source

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
	"millrace.dev/record"
)

// leaf is a column of a Parquet file whose records have one value of it, or none.
type leaf struct {
	name     string // with the names of the groups that it is in before it, and dots between
	member   []byte // `"name":`
	index    int    // among the columns of a row group
	path     []string
	physical format.Type
	width    int // of a value in bytes; 0 where it varies, and for a truth value in PLAIN
	maxDef   int // the definition level of a value that is there
	levels   int // bits of a definition level
	kind     kind
	scale    int // of a decimal
	unsigned bool
	unit     int64 // of a time: how many make a second
	time     timeForm
	declared bool
}

// kind is how the values of a column are written.
type kind uint8

const (
	kindBoolean kind = iota + 1
	kindInteger
	kindFloat
	kindDouble
	kindFloat16
	kindDecimal
	kindText
	kindBytes // of which the file does not say that they are text
	kindUUID
	kindDate
	kindInstant
	kindLocal // a date and a time of day, wherever
	kindInt96 // an instant, as Hive and Spark write it
	kindTimeOfDay
)

// schemaTree walks the columns of a file, which it lists in depth-first order.
type schemaTree struct {
	elements []format.SchemaElement
	next     int
	columns  int // that hold values
	leaves   []leaf
	groups   map[string]bool   // names that are no columns, but have some below them
	left     map[string]string // columns that cannot be read: the reason
}

const maxColumnDepth = 64

// newTree finds the columns that can be read.
func newTree(elements []format.SchemaElement) (*schemaTree, error) {
	t := &schemaTree{elements: elements, groups: map[string]bool{}, left: map[string]string{}}
	if len(elements) == 0 || elements[0].Type.Valid {
		return nil, errors.New("its schema has no columns")
	}
	if err := t.walk(nil, 0, false); err != nil {
		return nil, err
	}
	if t.next != len(elements) {
		return nil, errors.New("its schema has columns that are in no group")
	}
	seen := map[string]bool{}
	for i := range t.leaves {
		name := t.leaves[i].name
		if seen[name] {
			return nil, fmt.Errorf("it has the column %q twice", name)
		}
		seen[name] = true
	}
	return t, nil
}

func (t *schemaTree) walk(path []string, maxDef int, repeated bool) error {
	if t.next == len(t.elements) || len(path) > maxColumnDepth {
		return errors.New("its schema is cut short, or nested too deep")
	}
	e := &t.elements[t.next]
	if t.next++; t.next > 1 { // the root has no name that matters
		path = append(slices.Clip(path), e.Name)
		switch e.RepetitionType.V {
		case format.Optional:
			maxDef++
		case format.Repeated:
			repeated = true
		case format.Required:
		}
	}
	if e.Type.Valid {
		t.leaf(e, path, maxDef, repeated)
		return nil
	}
	if len(path) > 0 {
		t.groups[strings.Join(path, ".")] = true
	}
	if e.NumChildren.V < 0 || int(e.NumChildren.V) > len(t.elements)-t.next {
		return errors.New("its schema is cut short")
	}
	for range e.NumChildren.V {
		if err := t.walk(path, maxDef, repeated); err != nil {
			return err
		}
	}
	return nil
}

// leaf adds a column.
func (t *schemaTree) leaf(e *format.SchemaElement, path []string, maxDef int, repeated bool) {
	l := leaf{name: strings.Join(path, "."), index: t.columns, path: path, physical: e.Type.V, maxDef: maxDef}
	t.columns++
	if repeated {
		t.left[l.name] = "is a list or a map, or in one"
		return
	}
	if !l.setKind(e) {
		what := l.physical.String()
		if e.LogicalType.Value != nil {
			what += " as " + e.LogicalType.String()
		}
		t.left[l.name] = fmt.Sprintf("has the type %s, which is not read", what)
		return
	}
	for n := maxDef; n > 0; n >>= 1 {
		l.levels++
	}
	l.member = append(appendText(nil, l.name), ':')
	t.leaves = append(t.leaves, l)
}

// unreadable returns why a column that a schema declares cannot be read, or "".
func (t *schemaTree) unreadable(name string) string {
	if why := t.left[name]; why != "" {
		return why
	}
	if t.groups[name] {
		return "is a group, a list or a map: only single values are read, those of a group under their names with a dot between, such as " + name + ".x"
	}
	return ""
}

// setKind finds out what the values of a column are; false where they are nothing that a record can have.
func (l *leaf) setKind(e *format.SchemaElement) bool {
	widths := map[format.Type]int{format.Boolean: 1, format.Int32: 4, format.Int64: 8, format.Int96: 12, format.Float: 4, format.Double: 8}
	l.width = widths[l.physical]
	if l.physical == format.FixedLenByteArray {
		const widest = 1 << 20
		if l.width = int(e.TypeLength.V); l.width < 1 || l.width > widest {
			return false
		}
	}
	if e.LogicalType.Value != nil {
		return l.logical(e)
	}
	if e.ConvertedType.Valid {
		return l.converted(e)
	}
	kinds := map[format.Type]kind{
		format.Boolean: kindBoolean, format.Int32: kindInteger, format.Int64: kindInteger, format.Int96: kindInt96, format.Float: kindFloat,
		format.Double: kindDouble, format.ByteArray: kindBytes, format.FixedLenByteArray: kindBytes,
	}
	l.kind = kinds[l.physical]
	return l.kind != 0
}

// logical finds out what the values of a column with a logical type are.
func (l *leaf) logical(e *format.SchemaElement) bool {
	integer := l.physical == format.Int32 || l.physical == format.Int64
	bytes := l.physical == format.ByteArray || l.physical == format.FixedLenByteArray
	switch t := e.LogicalType.Value.(type) {
	case *format.StringType, *format.EnumType, *format.JsonType:
		l.kind = kindText
		return bytes
	case *format.DecimalType:
		return l.decimal(int(t.Scale))
	case *format.DateType:
		l.kind = kindDate
		return l.physical == format.Int32
	case *format.TimeType:
		l.kind = kindTimeOfDay
		return l.setUnit(t.Unit) && integer
	case *format.TimestampType:
		l.kind = kindLocal
		if t.IsAdjustedToUTC {
			l.kind = kindInstant
		}
		return l.setUnit(t.Unit) && l.physical == format.Int64
	case *format.IntType:
		l.kind, l.unsigned = kindInteger, !t.IsSigned
		return integer
	case *format.UUIDType:
		l.kind = kindUUID
		return l.width == 16
	case *format.Float16Type:
		l.kind = kindFloat16
		return l.width == 2
	default:
		return false
	}
}

func (l *leaf) setUnit(u format.TimeUnit) bool {
	if u.Value == nil {
		return false
	}
	l.unit = int64(1e9) / u.Value.Duration().Nanoseconds()
	return true
}

func (l *leaf) decimal(scale int) bool {
	const mostDigits, widest = 1000, 128
	l.kind, l.scale = kindDecimal, scale
	number := l.physical == format.Int32 || l.physical == format.Int64 || l.physical == format.ByteArray ||
		l.physical == format.FixedLenByteArray && l.width <= widest
	return number && scale >= 0 && scale <= mostDigits
}

// converted finds out what the values of a column are that has the types of before there were logical ones.
func (l *leaf) converted(e *format.SchemaElement) bool {
	integer := l.physical == format.Int32 || l.physical == format.Int64
	switch e.ConvertedType.V {
	case deprecated.UTF8, deprecated.Enum, deprecated.Json:
		l.kind = kindText
		return l.physical == format.ByteArray || l.physical == format.FixedLenByteArray
	case deprecated.Decimal:
		return l.decimal(int(e.Scale.V))
	case deprecated.Date:
		l.kind = kindDate
		return l.physical == format.Int32
	case deprecated.TimeMillis, deprecated.TimeMicros:
		l.kind, l.unit = kindTimeOfDay, 1e3
		if e.ConvertedType.V == deprecated.TimeMicros {
			l.unit = 1e6
		}
		return integer
	case deprecated.TimestampMillis, deprecated.TimestampMicros:
		l.kind, l.unit = kindInstant, 1e3
		if e.ConvertedType.V == deprecated.TimestampMicros {
			l.unit = 1e6
		}
		return l.physical == format.Int64
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		l.kind, l.unsigned = kindInteger, true
		return integer
	case deprecated.Int8, deprecated.Int16, deprecated.Int32, deprecated.Int64:
		l.kind = kindInteger
		return integer
	default:
		return false
	}
}

// choose keeps the columns that are wanted, and settles how their times are written. A column that the schema declares
// and that cannot be read is an error.
func (t *schemaTree) choose(o *Options) ([]leaf, error) {
	s := o.Schema
	if s == nil {
		s = &record.Schema{}
	}
	for i := range s.Len() {
		if why := t.unreadable(s.Field(i).Name); why != "" {
			return nil, &damage{
				fmt.Errorf("the column %q, which the schema declares, %s", s.Field(i).Name, why),
				"take it out of the schema, or write the file with a column of single values",
			}
		}
	}
	folded := map[string]bool{}
	for i := range s.Len() {
		folded[strings.ToLower(s.Field(i).Name)] = true
	}
	var kept []leaf
	for _, l := range t.leaves {
		var field *record.Field
		if i, ok := s.Index(l.name); ok {
			field = new(s.Field(i))
			l.declared = true
		}
		// The decoder says of a column that only differs in case from a declared one that it does.
		if o.Declared && !folded[strings.ToLower(l.name)] {
			continue
		}
		if err := l.setTime(field); err != nil {
			return nil, err
		}
		kept = append(kept, l)
	}
	return kept, nil
}
