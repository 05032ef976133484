package mail

// Value is a result of the rendering by the name that rules have for it; ok is false
// if there is none.
func (h *HTML) Value(name string) (v float64, ok bool) {
	switch name {
	case "html":
		return 1, true
	case "length":
		return float64(h.Length), true
	case "html_length":
		return float64(h.TextLength), true
	case "non_space_len":
		return float64(h.NonSpace), true
	case "ratio":
		return h.Ratio, true
	case "image_area":
		return float64(h.ImageArea), true
	case "min_size":
		return float64(h.MinSize), true
	case "max_size":
		return float64(h.MaxSize), true
	case "backhair_count":
		return float64(h.BackHair), h.BackHair > 0
	}
	if v, ok = h.flag(name); ok {
		return v, v != 0
	}
	return h.share(name)
}

func (h *HTML) flag(name string) (float64, bool) {
	flags := map[string]bool{"font_low_contrast": h.LowContrast, "font_invalid_color": h.InvalidColor, "font_face_bad": h.FaceBad,
		"form_action_mailto": h.FormMailto, "embeds": h.Embeds, "uri_truncated": h.Truncated}
	set, ok := flags[name]
	if set {
		return 1, true
	}
	return 0, ok
}

// share are counts as parts of all tags.
func (h *HTML) share(name string) (float64, bool) {
	if h.Tags == 0 {
		return 0, false
	}
	all := float64(h.Tags)
	switch name {
	case "closed_extra_ratio":
		return float64(h.ClosedExtra) / all, true
	case "bad_tag_ratio":
		return float64(h.Tags-h.Elements) / all, h.Elements > 0
	case "non_element_ratio":
		return float64(h.TagsSeen-h.KnownSeen) / float64(max(1, h.TagsSeen)), h.KnownSeen > 0
	case "obfuscation_ratio":
		return float64(h.Obfuscation) / all, h.Obfuscation > 0
	}
	return 0, false
}

// Strings are texts of the document by the name that rules have for them: anchor,
// title, comment, script.
func (h *HTML) Strings(name string) []string {
	switch name {
	case "anchor":
		return h.Anchors
	case "title":
		return h.Titles
	case "comment":
		return texts(h.Comments)
	case "script":
		return texts(h.Scripts)
	}
	return nil
}

func texts(in [][]byte) []string {
	var out []string
	for _, t := range in {
		out = append(out, string(t))
	}
	return out
}
