require ["duplicate"];
if duplicate :header "a" :uniqueid "b" {}
if duplicate :seconds "x" {}
duplicate;
