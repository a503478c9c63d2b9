package report

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"

	"millrace.dev/internal/chart"
)

//go:embed page.html model.html columns.html backtest.html compare.html trial.html page.css
var files embed.FS

// page is what every page has.
type page struct {
	Title string
	Style template.CSS
	Body  any
}

// write renders the page of a body, which the template named content shows. Nothing is written if it fails.
func write(w io.Writer, title, content string, body any) error {
	t, err := template.ParseFS(files, "*.html")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	css, err := files.ReadFile("page.css")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if t, err = t.New("content").Parse(`{{template "` + content + `" .}}`); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	var b bytes.Buffer
	p := page{Title: chart.OneLine(title), Style: chart.Style() + template.CSS(css), Body: body}
	if err := t.ExecuteTemplate(&b, "page.html", p); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// fact is a name with its value, as a list shows it.
type fact struct {
	Name, Value string
	Long        bool // over the whole width
}

// facts makes facts of pairs, without those whose value is empty.
func facts(pairs ...string) []fact {
	var out []fact
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, fact{Name: chart.OneLine(pairs[i]), Value: chart.OneLine(pairs[i+1])})
		}
	}
	return out
}

// figure is a chart with what stands above and below it.
type figure struct {
	Title string
	Chart template.HTML
	Note  string
}
