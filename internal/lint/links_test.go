package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestLinks looks at the relative links of all Markdown files: each leads to a file or a folder, and its fragment to a heading. Those below
// internal are parts that pages are made of.
func TestLinks(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	links := 0
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err == nil && e.IsDir() && (e.Name() == "internal" || path == filepath.Join(root, "bin")): // bin has what others wrote
			return fs.SkipDir
		case err != nil || e.IsDir() || filepath.Ext(path) != ".md":
			return err
		}
		for _, m := range link.FindAllStringSubmatch(text(t, path), -1) {
			if strings.Contains(m[1], ":") { // of the web
				continue
			}
			links++
			file, fragment, _ := strings.Cut(m[1], "#")
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), filepath.FromSlash(file))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[1])
				continue
			}
			if fragment != "" && !headings(text(t, to))[fragment] {
				t.Errorf("%s: %s: there is no such heading", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if links == 0 {
		t.Error("no link at all: this test looks at the wrong thing")
	}
}

// TestGuides wants every guide of docs/ to be in the list of the README.
func TestGuides(t *testing.T) {
	t.Parallel()
	readme := text(t, filepath.Join("..", "..", "README.md"))
	guides, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil || len(guides) == 0 {
		t.Fatalf("%d guides: %v", len(guides), err)
	}
	for _, guide := range guides {
		if name := "docs/" + filepath.Base(guide); !strings.Contains(readme, "]("+name+")") {
			t.Errorf("README.md does not name %s", name)
		}
	}
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// headings returns the fragments of a page's headings: in lower case, without punctuation, with hyphens for spaces.
func headings(page string) map[string]bool {
	all := map[string]bool{}
	code := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		title := strings.TrimLeft(line, "#")
		if code || title == line {
			continue
		}
		all[strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			default:
				return -1
			}
		}, strings.TrimSpace(title))] = true
	}
	return all
}
