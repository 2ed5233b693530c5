// Compiles every module below a folder: node compile.mjs FOLDER_OF_NODE_MODULES FOLDER ROOT_AT_RUN_TIME
import path from "node:path";
import { pathToFileURL } from "node:url";

const [modules, folder, root] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(path.join(modules, "pyodide", "pyodide.mjs")));
// Without a fixed seed, constants that are sets would be written in a different order each time.
const python = await loadPyodide({ env: { PYTHONHASHSEED: "0" } });
python.FS.mkdir("/folder");
python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/folder");
python.globals.set("root", root);
const done = python.runPython(`
import compileall, py_compile
compileall.compile_dir(
    "/folder", maxlevels=100, ddir=root, force=True, quiet=1,
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
`);
process.exitCode = done ? 0 : 1;
