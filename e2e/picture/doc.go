// Package picture looks at the pages of millrace as a browser shows them: in the width of a screen and of a phone, in light and in
// dark, folded and unfolded. No text may overlap another, leave its picture or be cut off. Its tests need Chromium, and keep
// the pictures in the folder that MILLRACE_PICTURES names: make pictures.
package picture
