require ["fileinto", "variables"];
set "x" "";
fileinto "${x}";
