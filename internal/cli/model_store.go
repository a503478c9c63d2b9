package cli

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"millrace.dev/internal/app"
	"millrace.dev/internal/registry"
)

// collected is what model gc --json prints.
type collected struct {
	DryRun    bool               `json:"dry_run"`
	Bundles   []collectedBundles `json:"bundles"`
	Bytes     int64              `json:"bytes"`
	Temporary int                `json:"temporary"`
}

type collectedBundles struct {
	Digest   string   `json:"digest"`
	Bytes    int64    `json:"bytes"`
	Versions []string `json:"versions"`
	Reason   string   `json:"reason"`
}

func (c *cli) modelGC(models opener) *cobra.Command {
	var o app.GCOptions
	cmd := &cobra.Command{
		Use: "gc", Short: "Remove bundles that nobody needs", Args: noArgs,
		Long: `Gc removes what crashes have left: half-written files and bundles that no version has, when they are older than an hour.
With --older-than it also removes the bundles of versions that were rejected or retired longer ago. A bundle that a
candidate or an approved version has stays. The versions stay in the log, which also says what was removed; they cannot be
approved any more, but the same bundle can be registered again.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := models()
			if err != nil {
				return err
			}
			if o.By == "" && m.Root == "" {
				o.By = "gc"
			}
			report, err := m.GC(cmd.Context(), o)
			r := collected{DryRun: o.DryRun, Bundles: []collectedBundles{}, Temporary: report.Temporary}
			for _, b := range report.Bundles {
				r.Bytes += b.Bytes
				r.Bundles = append(r.Bundles, collectedBundles{Digest: b.Digest, Bytes: b.Bytes, Versions: append([]string{}, b.Versions...), Reason: b.Reason})
			}
			if err == nil || len(r.Bundles) > 0 || r.Temporary > 0 { // also of a run that failed: what went is gone
				c.noteCollected(&r)
			}
			if err != nil {
				return err
			}
			if c.json {
				return c.printJSON(r)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.OlderThan, "older-than", "", "also the bundles of versions that were rejected or retired longer ago than this `age`, such as 30d")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "only show what would be removed")
	cmd.Flags().StringVar(&o.By, "by", "", "the `name` of who removes them, for the log (default: the owner of the key, else gc)")
	c.keyFlag(cmd)
	c.jsonFlag(cmd, "what was removed")
	return cmd
}

// noteCollected tells a person what gc has removed.
func (c *cli) noteCollected(r *collected) {
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	for _, b := range r.Bundles {
		what := strings.Join(b.Versions, ", ")
		if what == "" {
			what = b.Digest
		}
		c.note("%s %s: %s, %s bytes\n", verb, what, b.Reason, grouped(b.Bytes))
	}
	switch {
	case len(r.Bundles) > 0 || r.Temporary > 0:
		c.note("%s %s, %s bytes, and %s\n", verb, count(len(r.Bundles), "bundle"), grouped(r.Bytes), count(r.Temporary, "temporary file"))
	default:
		c.note("there is nothing to remove\n")
	}
}

// exported is what model export --json prints.
type exported struct {
	Model  string `json:"model"`
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
	File   string `json:"file"`
}

func (c *cli) modelExport(models opener) *cobra.Command {
	var out, bundle string
	cmd := &cobra.Command{
		Use: "export MODEL --out FILE", Short: "Write a model to a file, for another registry", Args: oneArg("MODEL"),
		Long: `Export writes a model and the events about it to one file, which millrace model import takes. With --bundle it writes
the bundle alone. A FILE of - is standard output.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (out == "") == (bundle == "") {
				return usage(cmd, errors.New("one of --out and --bundle is required"))
			}
			path := out + bundle
			if path == "-" && c.json {
				return usage(cmd, errors.New("--json and a file on standard output do not go together"))
			}
			m, err := models()
			if err != nil {
				return err
			}
			v, err := m.Export(cmd.Context(), args[0], path, bundle != "", c.out)
			if err != nil {
				return err
			}
			if path == "-" {
				return nil
			}
			c.note("%s is in %s\n", v.Ref(), path)
			if c.json {
				return c.printJSON(exported{Model: v.Ref(), Digest: v.Digest, Bytes: v.Bytes, File: path})
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the `file` for the model and the events about it")
	cmd.Flags().StringVar(&bundle, "bundle", "", "the `file` for the bundle alone")
	c.jsonFlag(cmd, "the model")
	return cmd
}

func (c *cli) modelImport(models opener, at *app.ModelsOptions) *cobra.Command {
	var by, format string
	cmd := &cobra.Command{
		Use: "import FILE|URL --by NAME", Short: "Register a model of another registry, or one that LightGBM or XGBoost has trained",
		Args: func(cmd *cobra.Command, args []string) error { return oneArg("FILE", c.needsName()...)(cmd, args) },
		Long: `Import registers a model that millrace model export has written, or a bundle. It becomes a candidate: what another
registry decided does not count here, but the log tells it.

A file that LightGBM has saved as text, or XGBoost as JSON or UBJSON, becomes a model of the pipeline file: the file's
fields and features are the inputs, which have to have the names of the model's features, and its training data says
what is fitted and how good the model is. The predictions are the other system's, bit for bit but for the last places of
exp and sigmoid. All trees count, also where XGBoost stopped early. Nothing of the file is executed.

A URL names a model of an MLflow server: mlflow://HOST:PORT/MODEL/VERSION, mlflow://HOST:PORT/MODEL@ALIAS, mlflow+https://...,
or models:/MODEL/VERSION with the server in MLFLOW_TRACKING_URI. It is fetched if it is a bundle, or one that LightGBM or
XGBoost has trained, and imported in the same way. MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, say
who asks.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if app.IsMLflow(args[0]) {
				return c.importMLflow(cmd, models, args[0], &app.ForeignOptions{File: c.file, Set: c.set, Registry: at.Dir, Root: at.Root, By: by})
			}
			data, err := app.ReadForeign(args[0], format)
			if err != nil {
				return err
			}
			if data != nil {
				return c.importForeign(cmd, &app.ForeignOptions{
					File: c.file, Set: c.set, Registry: at.Dir, Root: at.Root, By: by, Model: data, Name: filepath.Base(args[0]), Format: format,
				})
			}
			m, err := models()
			if err != nil {
				return err
			}
			v, err := m.Import(cmd.Context(), args[0], by)
			if err != nil {
				return atFile(err, args[0])
			}
			return c.printImported(v)
		},
	}
	cmd.Flags().StringVar(&by, "by", "", "the `name` of who imports it (required without a key, whose owner it is)")
	cmd.Flags().StringVar(&format, "format", "", "the `format` of a file of another system: "+strings.Join(app.ForeignFormats(), ", ")+" (default: what the file looks like)")
	cmd.Flags().StringArrayVar(&c.set, "set", nil, "override a `key=value` of the pipeline file, for a model of another system; can be repeated")
	c.keyFlag(cmd)
	c.jsonFlag(cmd, "the version")
	return cmd
}

// printImported tells of a version that was imported.
func (c *cli) printImported(v registry.Version) error {
	c.note("%s is %s, with digest %s\n", v.Ref(), article(v.State), v.Digest)
	if c.json {
		return c.printJSON(listed(v))
	}
	return nil
}

// importMLflow imports a model of an MLflow server. o has all that is not of the model.
func (c *cli) importMLflow(cmd *cobra.Command, models opener, url string, o *app.ForeignOptions) error {
	f, err := c.app().FetchMLflow(cmd.Context(), url)
	if err != nil {
		return err
	}
	c.note("fetched %s\n", f.From())
	if f.Foreign() {
		f.Options(o)
		return c.importForeign(cmd, o)
	}
	m, err := models()
	if err != nil {
		return err
	}
	v, err := m.ImportFetched(cmd.Context(), f, o.By)
	if err != nil {
		return atFile(err, f.From())
	}
	return c.printImported(v)
}

// importForeign imports a model of another system, and tells a person of it.
func (c *cli) importForeign(cmd *cobra.Command, o *app.ForeignOptions) error {
	if o.Format != "" && !slices.Contains(app.ForeignFormats(), o.Format) {
		return usage(cmd, fmt.Errorf("--format %q: want one of %s", o.Format, strings.Join(app.ForeignFormats(), ", ")))
	}
	t, err := c.app().ImportForeign(cmd.Context(), *o)
	if t != nil {
		c.printTrained(t)
	}
	return c.tellResult(cmd.Context(), "", t, err)
}

// article writes a state as it is said of a version.
func article(s registry.State) string {
	if s == registry.StateCandidate {
		return "a candidate"
	}
	return string(s)
}

// atFile says which file is not a model.
func atFile(err error, path string) error {
	code, hint := app.Explain(err)
	if errors.Is(err, registry.ErrArchive) {
		return &app.Error{Code: code, Op: "model import", Where: path, Err: err, Hint: hint}
	}
	return fmt.Errorf("%s: %w", path, err)
}
