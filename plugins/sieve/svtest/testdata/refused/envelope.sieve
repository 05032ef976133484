require ["envelope"];
if envelope "nonesuch" "x" {}
if envelope "from" {}
