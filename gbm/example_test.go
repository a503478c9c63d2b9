package gbm_test

import (
	"context"
	"fmt"

	"millrace.dev/gbm"
	"millrace.dev/record"
)

func ExampleTrain() {
	size := record.Column{Name: "size", Type: record.Numeric}
	town := record.Column{Name: "town", Type: record.Enum, Levels: []string{"Bree", "Hobbiton"}}
	var price []float64
	for i := range 400 {
		size.Numbers = append(size.Numbers, float64(50+i%100))
		town.Codes = append(town.Codes, int32(i%2))
		price = append(price, float64((50+i%100)*(1+i%2)))
	}
	frame := &record.Frame{Rows: len(price), Columns: []record.Column{size, town}}

	p := gbm.DefaultParams()
	p.NTrees, p.LabelTransform = 200, gbm.TransformLog
	forest, _, err := gbm.Train(context.Background(), p, gbm.Dataset{Frame: frame, Label: price}, nil, gbm.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	out := make([]float64, 2)
	forest.Score(&record.Frame{Rows: 2, Columns: []record.Column{
		{Name: "size", Type: record.Numeric, Numbers: []float64{100, 101}},
		{Name: "town", Type: record.Enum, Levels: town.Levels, Codes: []int32{0, 1}},
	}}, out)
	fmt.Printf("%.0f %.0f\n", out[0], out[1])
	// Output: 100 202
}
