package codec

import (
	"fmt"
	"strings"
	"testing"

	"millrace.dev/record"
)

// Hot paths do not allocate once they have seen the feed's keys and levels. Allocations are counted for the
// whole process, so this test is not parallel.
func TestAllocations(t *testing.T) {
	if testing.Short() {
		t.Skip("it counts the same without the race detector, in a tenth of the time")
	}
	numbers := []string{
		"313000.0", "-122.26591", "0.30000000000000004", "1.7976931348623157e308", "9007199254740994",
		"0.0000000000000000000000000000000000001234567890123456789", strings.Repeat("7", 40) + ".5",
	}
	for _, text := range numbers {
		c, b := column{numbers: []float64{0}}, []byte(text)
		var f fault
		none(t, "number "+text, func() { c.setNumber(0, b, 0, &f) })
	}
	buf := make([]byte, 0, 1000)
	none(t, "AppendFloat", func() { buf = AppendFloat(buf[:0], 0.30000000000000004) })

	house, records := houseSchema(t), houseRecords()
	decoder := newJSON(t, house, JSONOptions{Reserved: "prediction"})
	steady(t, "house records", decoder, house, records)

	encoder, err := NewJSONEncoder("prediction")
	if err != nil {
		t.Fatal(err)
	}
	none(t, "JSON encoder", func() { buf = encoder.Encode(buf[:0], records[0], 313000.5) })

	header, rows := houseRows(records)
	steady(t, "house rows", newCSV(t, house, header, CSVOptions{}), house, rows)

	schema := testSchema(t)
	var others, nestedKeys strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&others, `,"k%d":0`, i)
		fmt.Fprintf(&nestedKeys, `{"k%d":0,"l":1},`, i)
	}
	for name, r := range map[string]string{
		"escapes":           `{"n":1,"\u0065":"\u0061","s":"\n"}`,
		"not ASCII":         `{"Größe":1,"ä":{"ö":"ü"},"s":"é"}`,
		"nested":            `{"n":1,"x":{"a":1,"b":{"c":[1,2,{"d":1}]}}}`,
		"times":             `{"t":"2014-05-02T01:02:03.5-07:00","u":1398988800.5}`,
		"quoted":            `{"q":"0.30000000000000004","e":4.0}`,
		"more than learned": `{"n":1` + others.String() + `}`,
		"nested objects":    `{"n":1,"x":[` + nestedKeys.String() + `{}]}`,
	} {
		steady(t, name, newJSON(t, schema, JSONOptions{}), schema, [][]byte{[]byte(r), []byte(`{"s":"","n":1}`), []byte(r)})
	}
	custom := newSchema(t, record.Field{Name: "t", Type: record.Time, Layouts: []string{"02/01/2006 15:04"}, Zone: "America/Los_Angeles"})
	steady(t, "layout", newJSON(t, custom, JSONOptions{}), custom, [][]byte{[]byte(`{"t":"02/05/2014 10:11"}`)})
}

func none(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(50, f); n > 0 {
		t.Errorf("%s: %v allocations", name, n)
	}
}

// steady checks that decoding the same records again and again does not allocate.
func steady(t *testing.T, name string, d Decoder, s *record.Schema, values [][]byte) {
	t.Helper()
	b := knownBatch(s, d, values)
	decodeAll := func() {
		fill(b, values)
		d.Decode(b)
	}
	for range 80 { // a feed with more keys than there is room for has them forgotten twice
		decodeAll()
	}
	if b.Rejected() > 0 {
		t.Fatalf("%s: %+v", name, b.Problem(0))
	}
	none(t, name, decodeAll)
}
