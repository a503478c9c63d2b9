package codec_test

import (
	"fmt"

	"millrace.dev/codec"
	"millrace.dev/record"
)

func Example() {
	schema, err := record.NewSchema(
		record.Field{Name: "sqft_living", Type: record.Numeric},
		record.Field{Name: "view", Type: record.Enum},
	)
	if err != nil {
		fmt.Println(err)
		return
	}
	decoder, err := codec.NewJSON(schema, codec.JSONOptions{Reserved: "price"})
	if err != nil {
		fmt.Println(err)
		return
	}
	encoder, err := codec.NewJSONEncoder("price")
	if err != nil {
		fmt.Println(err)
		return
	}
	batch := record.NewBatch(schema, nil)
	for _, value := range []string{
		`{ "id": 7, "sqft_living": 1340, "view": 4 }`,
		`{ "id": 8, "sqft_living": "1340" }`,
		`{ "id": 9, "SQFT_LIVING": 1340 }`,
	} {
		batch.Append(record.Raw{Value: []byte(value)})
	}
	decoder.Decode(batch)
	for i := range batch.Len() {
		if p := batch.Problem(i); p != nil {
			fmt.Println(p.Class, p.Field, "-", p.Reason)
			continue
		}
		fmt.Println(batch.Numbers(0)[i], batch.Dict(1).Level(batch.Codes(1)[i]))
		fmt.Printf("%s\n", encoder.Encode(nil, batch.Raw(i).Value, 313000.5))
	}
	// Output:
	// 1340 4
	// { "id": 7, "sqft_living": 1340, "view": 4 ,"price":313000.5}
	// wrong_type sqft_living - byte 26: a numeric field cannot be a string
	// wrong_case sqft_living - byte 11: the key differs in case from the declared field "sqft_living": send it as declared, or declare it as it is sent
}
