require ["include", "fileinto", "variables"]; global "shared"; set "shared" "from the inside"; set "own" "x"; return; discard;
