"""Errors, remedies, notes and stages, see `translations.translate_message`."""

MESSAGES: dict[str, str] = {
    # values in other messages
    "capture": "Capture",
    "face landmarker": "Face Landmarker",
    "not found": "nicht gefunden",
    "not set up": "nicht eingerichtet",
    "set up for another version": "für eine andere Version eingerichtet",
    "set up only in part": "nur teilweise eingerichtet",
    "sound": "Ton",
    "video": "Video",
    # stages
    "Cut out the person": "Person wird freigestellt",
    "Draw the report": "Bericht wird gezeichnet",
    "Dub": "Synchronfassung wird gezeichnet",
    "Environment": "Umgebung",
    "Learn to speak": "Sprechen wird gelernt",
    "Load": "Wird geladen",
    "Look at the chosen face": "Das gewählte Gesicht wird angesehen",
    "Look at the footage": "Aufnahme wird angesehen",
    "Packages": "Pakete",
    "Read the face landmarker": "Face Landmarker wird ausgelesen",
    "Refine the mattes": "Masken werden verfeinert",
    "Render": "Wird gerendert",
    "Sample": "Beispiel wird gezeichnet",
    "Speak": "Wird gesprochen",
    "Track the face": "Gesicht wird getrackt",
    "Train the actor": "Darsteller wird trainiert",
    "Wait for another actor": "Es wird auf einen anderen Darsteller gewartet",
    # the backend
    "Allow Online Access in the preferences, or choose a folder of wheels.":
        "„Online-Zugriff erlauben“ in den Einstellungen einschalten oder einen Ordner mit Wheels wählen.",
    "Another job is running.": "Es läuft schon ein Auftrag.",
    "Blender may not go online, so the backend's packages cannot be downloaded.":
        "Blender darf nicht online gehen, daher können die Pakete des Backends nicht geladen werden.",
    "Cancelled.": "Abgebrochen.",
    "Choose another Python in the preferences, or set up the backend again.":
        "In den Einstellungen ein anderes Python wählen oder das Backend neu einrichten.",
    "Choose another in the preferences.": "In den Einstellungen einen anderen wählen.",
    "Choose another, or set up the backend.": "Ein anderes wählen oder das Backend einrichten.",
    "If memory ran out, close other programs; then start again: it goes on.":
        "Falls der Speicher nicht reichte, andere Programme schließen; dann neu starten: es geht weiter.",
    "Install one from python.org, or choose it in the preferences.":
        "Eines von python.org installieren oder es in den Einstellungen wählen.",
    "Install Portrait Actor again.": "Portrait Actor neu installieren.",
    "No Python 3.11 or 3.12 was found to run the backend with.":
        "Für das Backend wurde kein Python 3.11 oder 3.12 gefunden.",
    "Open the log, or set it up again.": "Das Protokoll öffnen oder das Backend neu einrichten.",
    "Open the log; start again: it goes on where it stopped.":
        "Das Protokoll öffnen; neu starten: es geht weiter, wo es stehen blieb.",
    "Press Set Up Backend, or use --command portrait_actor setup.":
        "„Backend einrichten“ drücken oder --command portrait_actor setup verwenden.",
    "Read Blender's console.": "Blenders Konsole lesen.",
    "Run it again; if it happens again, send us the log.":
        "Erneut versuchen; geschieht es wieder, bitte das Protokoll schicken.",
    "Set it up again.": "Bitte neu einrichten.",
    "Set up the backend again (Preferences ▸ Portrait Actor, or backend/setup/install.py).":
        "Das Backend neu einrichten (Einstellungen ▸ Portrait Actor oder backend/setup/install.py).",
    "gsplat builds its GPU kernels at the first job on the GPU, which takes minutes and needs the CUDA toolkit (nvcc); "
    "without it, jobs run on the CPU.":
        "gsplat übersetzt seine GPU-Kernel beim ersten Auftrag auf der GPU; das dauert Minuten und braucht das "
        "CUDA-Toolkit (nvcc). Ohne es laufen Aufträge auf der CPU.",
    "The backend lacks {}: {}.": "Dem Backend fehlt {}: {}.",
    "The disk is full: {}.": "Die Platte ist voll: {}.",
    "Set up the backend again; `python -m backend doctor` tells what is missing.":
        "Das Backend neu einrichten; `python -m backend doctor` sagt, was fehlt.",
    "The Python package {} is missing or cannot be loaded.": "Das Python-Paket {} fehlt oder lässt sich nicht laden.",
    "The backend did not answer.": "Das Backend hat nicht geantwortet.",
    "The backend is of another version.": "Das Backend hat eine andere Version.",
    "The backend is {}.": "Das Backend ist {}.",
    "The backend stopped (exit code {}){}.": "Das Backend blieb stehen (Exit-Code {}){}.",
    "The backend was killed{}.": "Das Backend wurde von außen beendet{}.",
    "The backend's Python {} could not be started ({}).":
        "Das Python des Backends, {}, konnte nicht gestartet werden ({}).",
    "The backend's Python {} does not exist.": "Das Python des Backends, {}, gibt es nicht.",
    "The cache folder {} cannot be written.": "In den Cache-Ordner {} kann nicht geschrieben werden.",
    "The environment variable {} names the backend's Python.":
        "Die Umgebungsvariable {} gibt das Python des Backends vor.",
    "The job was cancelled.": "Der Auftrag wurde abgebrochen.",
    "Unset it to use an environment that Portrait Actor makes.":
        "Sie löschen, um eine Umgebung zu verwenden, die Portrait Actor anlegt.",
    "Wait for it, or cancel it.": "Abwarten oder abbrechen.",
    "{} ended with an unexpected error.": "„{}“ endete mit einem unerwarteten Fehler.",
    "An unexpected error stopped the job ({}).": "Ein unerwarteter Fehler hat den Auftrag angehalten ({}).",
    # setting up
    "A package arrived damaged.": "Ein Paket kam beschädigt an.",
    "Choose another folder, or move it away.": "Einen anderen Ordner wählen oder es verschieben.",
    "Connect to the internet, or install from a folder of wheels (`build.py wheels DIR` makes one elsewhere).":
        "Mit dem Internet verbinden oder aus einem Ordner mit Wheels installieren (`build.py wheels DIR` macht einen).",
    "Free about 4 GB and set up again.": "Etwa 4 GB freimachen und neu einrichten.",
    "Free some space or choose another folder.": "Platz schaffen oder einen anderen Ordner wählen.",
    "Python {} environment in {}": "Umgebung für Python {} in {}",
    "Set up again to finish it.": "Erneut einrichten, um es abzuschließen.",
    "The disk became full during the installation.": "Während der Installation wurde die Festplatte voll.",
    "The environment needs {} GB, and only {} GB are free at {}.":
        "Die Umgebung braucht {} GB, und unter {2} sind nur {1} GB frei.",
    "The installation failed: {}": "Die Installation ist gescheitert: {}",
    "The installation was cancelled.": "Die Installation wurde abgebrochen.",
    "The packages could not be downloaded: the package index was not reached.":
        "Die Pakete konnten nicht geladen werden: der Paketindex war nicht erreichbar.",
    "There is no folder of wheels at {}.": "Unter {} ist kein Ordner mit Wheels.",
    "{} holds something that Portrait Actor did not make.":
        "{} enthält etwas, das nicht von Portrait Actor stammt.",
    # files and folders
    "Check its permissions and the disk.": "Zugriffsrechte und Festplatte prüfen.",
    "Check the disk and run it again.": "Die Festplatte prüfen und erneut versuchen.",
    "Choose a folder that you may write to.": "Einen Ordner wählen, in den geschrieben werden darf.",
    "Choose a folder.": "Einen Ordner wählen.",
    "Choose a {}.": "Bitte wählen: {}.",
    "Choose an empty folder.": "Einen leeren Ordner wählen.",
    "Choose another file.": "Eine andere Datei wählen.",
    "Choose another folder.": "Einen anderen Ordner wählen.",
    "Choose another name.": "Einen anderen Namen wählen.",
    "Choose another place.": "Einen anderen Ort wählen.",
    "Choose another.": "Einen anderen wählen.",
    "Delete it and render again.": "Sie löschen und erneut rendern.",
    "Free some space and run it again: it goes on where it stopped.":
        "Platz schaffen und erneut starten: es geht weiter, wo es stehen blieb.",
    "Name a .csv or an .npz.": "Eine .csv- oder .npz-Datei angeben.",
    "Name an .mp4.": "Eine .mp4-Datei angeben.",
    "No file was named for the clip.": "Für den Clip wurde keine Datei angegeben.",
    "No file was named.": "Es wurde keine Datei angegeben.",
    "No film was named.": "Es wurde kein Film angegeben.",
    "No output folder was chosen.": "Es wurde kein Ausgabeordner gewählt.",
    "No {} was chosen.": "Nichts gewählt: {}.",
    "Save it, or use a full path.": "Sie speichern oder einen vollständigen Pfad angeben.",
    "The disk is full while writing {}.": "Die Festplatte ist voll; geschrieben wurde gerade {}.",
    "There is no file at {}.": "Unter {} ist keine Datei.",
    "There is no folder at {}.": "Unter {} ist kein Ordner.",
    "There is no report at {}.": "Unter {} ist kein Bericht.",
    "There is no {} at {}.": "Nicht gefunden: {} unter {}.",
    "{} cannot be read ({}).": "{} kann nicht gelesen werden ({}).",
    "{} cannot be read.": "{} kann nicht gelesen werden.",
    "{} cannot be written.": "{} kann nicht geschrieben werden.",
    "{} could not be saved.": "{} konnte nicht gespeichert werden.",
    "{} could not be written ({}).": "{} konnte nicht geschrieben werden ({}).",
    "{} holds other files.": "{} enthält andere Dateien.",
    "{} is empty.": "{} ist leer.",
    "{} is relative to the .blend file, which is not saved yet.":
        "{} ist relativ zur .blend-Datei, die noch nicht gespeichert ist.",
    # the actor and its scene
    " and others": " und andere",
    "Add a camera and make it active.": "Eine Kamera hinzufügen und aktivieren.",
    "Choose a sound file.": "Eine Tondatei wählen.",
    "Choose a sound strip.": "Einen Tonstreifen wählen.",
    "Choose another strip.": "Einen anderen Streifen wählen.",
    "Choose one, or let the actor speak.": "Einen wählen oder den Darsteller sprechen lassen.",
    "Choose one, or make a new take.": "Einen wählen oder einen neuen Take machen.",
    "Create it first, or choose its folder.": "Ihn zuerst erstellen oder seinen Ordner wählen.",
    "Create or import one.": "Einen erstellen oder importieren.",
    "Create the actor again to have it written again.":
        "Den Darsteller erneut erstellen, damit es neu geschrieben wird.",
    "Create the actor again.": "Den Darsteller erneut erstellen.",
    "Draw it larger, or clear it.": "Ihn größer ziehen oder löschen.",
    "Dub again.": "Erneut synchronisieren.",
    "Import it first.": "Ihn zuerst importieren.",
    "Import the actor again.": "Den Darsteller neu importieren.",
    "It runs from {} to {}.": "Sie reicht von {} bis {}.",
    "Leave tweak mode first.": "Zuerst den Bearbeitungsmodus des Streifens verlassen.",
    "Make a Library Override of it first.": "Zuerst „Bibliothek überschreibbar machen“ anwenden.",
    "Make it the scene's camera.": "Sie zur Kamera der Szene machen.",
    "Move it back.": "Zurückbewegen.",
    "No actor called {} is in the scene.": "In der Szene ist kein Darsteller namens {}.",
    "No strip called {} is in the sequencer.": "Im Sequenzer ist kein Streifen namens {}.",
    "Press Make Channels Editable.": "„Kanäle bearbeitbar machen“ drücken.",
    "Restore it from a backup or create the actor again.":
        "Aus einer Sicherung wiederherstellen oder den Darsteller erneut erstellen.",
    "Run Create Actor again: it goes on where it stopped.":
        "„Darsteller erstellen“ erneut ausführen: es geht weiter, wo es stehen blieb.",
    "Set its rotation mode to {} Euler, or speak without head motion.":
        "Seinen Rotationsmodus auf {} Euler setzen oder ohne Kopfbewegung sprechen.",
    "Set its type to Perspective.": "Ihren Typ auf „Perspektive“ setzen.",
    "Speak again.": "Erneut sprechen lassen.",
    "Switch its collection on in the Outliner.": "Die Sammlung im Outliner einschalten.",
    "A strip of the actor is being edited.": "Ein Streifen des Darstellers wird gerade bearbeitet.",
    "Blender cannot read {}.": "Blender kann {} nicht lesen.",
    "The actor that should move is not in the file any more.":
        "Der Darsteller, der sich bewegen sollte, ist nicht mehr in der Datei.",
    "The actor that should speak is not in the file any more.":
        "Der Darsteller, der sprechen sollte, ist nicht mehr in der Datei.",
    "The bone {} of {} is not keyed in the order {}.":
        "Die Schlüsselbilder des Knochens {} von {} stehen nicht in der Reihenfolge {}.",
    "The camera that is matched to the footage is gone.": "Die Kamera, die zur Aufnahme passt, ist nicht mehr da.",
    "The footage is seen through {} alone.": "Die Aufnahme ist nur durch {} zu sehen.",
    "The footage shows nothing at frame {}.": "Die Aufnahme zeigt bei Bild {} nichts.",
    "The render border has no pixel in it.": "Der Renderbereich enthält kein Pixel.",
    "The scene has no camera.": "Die Szene hat keine Kamera.",
    "The strip {} has no sound.": "Der Streifen {} hat keinen Ton.",
    "There is no actor at {}.": "Unter {} ist kein Darsteller.",
    "There is no actor in the scene.": "In der Szene ist kein Darsteller.",
    "This Blender is built without sound.": "Dieses Blender ist ohne Ton gebaut.",
    "Track the video again.": "Das Video erneut tracken.",
    "Undo the change, or import the actor again.":
        "Die Änderung rückgängig machen oder den Darsteller neu importieren.",
    "Update the extension to open it.": "Zum Öffnen die Erweiterung aktualisieren.",
    "{} exists and is not an actor folder.": "{} gibt es schon und ist kein Darstellerordner.",
    "{} has lost {}{}.": "{}: es fehlt {}{}.",
    "{} has no camera.": "{} hat keine Kamera.",
    "{} has no take in use there.": "{} hat dort keinen aktuellen Take.",
    "{} has no take in use to speak into.": "{} hat keinen aktuellen Take, in den gesprochen werden könnte.",
    "{} is damaged.": "{} ist beschädigt.",
    "{} is linked from {}.": "{} ist aus {} verknüpft.",
    "{} is missing or damaged.": "{} fehlt oder ist beschädigt.",
    "{} is not a perspective camera.": "{} ist keine perspektivische Kamera.",
    "{} is not finished.": "{} ist nicht fertig.",
    "{} is not part of the view layer {}.": "{} gehört nicht zur Ansichtsebene {}.",
    "{} or the actor has been moved: the footage was seen from elsewhere.":
        "{} oder der Darsteller wurde bewegt: die Aufnahme wurde von anderswo gesehen.",
    "{} was made by a newer Portrait Actor (format {}).": "{} stammt von einem neueren Portrait Actor (Format {}).",
    # footage
    "Choose a video, not a sound file.": "Ein Video wählen, keine Tondatei.",
    "Choose an MP4, MOV, MKV, WebM or AVI file.": "Eine Datei in MP4, MOV, MKV, WebM oder AVI wählen.",
    "Choose another folder, or remove that one.": "Einen anderen Ordner wählen oder jenen entfernen.",
    "Convert the video to MP4 (H.264) and try again.": "Das Video in MP4 (H.264) umwandeln und erneut versuchen.",
    "Copy or export the file again.": "Die Datei neu kopieren oder exportieren.",
    "Leave the choice empty: Portrait Actor then measures the channels itself.":
        "Die Auswahl leer lassen: Portrait Actor misst die Kanäle dann selbst.",
    "Choose MediaPipe's face_landmarker.task, or leave the choice empty.":
        "MediaPipes face_landmarker.task wählen oder die Auswahl leer lassen.",
    "No human face was found in this video.": "In diesem Video wurde kein menschliches Gesicht gefunden.",
    "No picture of {} can be read.": "Kein Bild von {} kann gelesen werden.",
    "The face is only {} pixels tall.": "Das Gesicht ist nur {} Pixel hoch.",
    "The face is turned away from the camera most of the time.":
        "Das Gesicht ist die meiste Zeit von der Kamera abgewandt.",
    "The face landmarker {} cannot be loaded.": "Der Face Landmarker {} lässt sich nicht laden.",
    "The face landmarker {} found the face in only {} of {} frames.":
        "Der Face Landmarker {} fand das Gesicht nur in {} von {} Bildern.",
    "The longest uninterrupted segment that shows one face clearly lasts only {} s.":
        "Der längste ununterbrochene Abschnitt, der ein Gesicht deutlich zeigt, dauert nur {} s.",
    "There is no face landmarker at {}.": "Unter {} ist kein Face Landmarker.",
    "There is no face number {}.": "Es gibt kein Gesicht Nummer {}.",
    "This video shows {} faces at once.": "Dieses Video zeigt {} Gesichter zugleich.",
    "Use a clip that shows one person's face from the front, at least 100 pixels tall.":
        "Einen Clip verwenden, der das Gesicht einer Person von vorn zeigt, mindestens 100 Pixel hoch.",
    "Use a clip that shows the person for at least {} s, better 20 s or more, without a cut.":
        "Einen Clip verwenden, der die Person mindestens {} s ohne Schnitt zeigt, besser 20 s oder länger.",
    "Use footage in which it is at least {} pixels tall.":
        "Eine Aufnahme verwenden, in der es mindestens {} Pixel hoch ist.",
    "Use footage in which the person looks towards the camera.":
        "Eine Aufnahme verwenden, in der die Person zur Kamera schaut.",
    "{} contains no blend shape model.": "{} enthält kein Modell für Blendshapes.",
    "{} holds no moving picture.": "{} enthält kein bewegtes Bild.",
    "{} is larger than 64 MiB, too large for a face landmarker.":
        "{} ist größer als 64 MiB, zu groß für einen Face Landmarker.",
    "{} is not a face landmarker.": "{} ist kein Face Landmarker.",
    "{} is not a video that can be read.": "{} ist kein lesbares Video.",
    "{} was made from other footage ({}).": "{} entstand aus einer anderen Aufnahme ({}).",
    # notes on footage
    "Only {} s could be used: expressions that the clip does not show will look generic.":
        "Nur {} s waren brauchbar: Mimik, die der Clip nicht zeigt, wird beliebig aussehen.",
    "The clip has too little sound to learn from: the actor cannot speak.":
        "Der Clip hat zu wenig Ton, um daraus zu lernen: der Darsteller kann nicht sprechen.",
    "The mouth does not follow the sound, as if somebody else spoke or noise covered the voice: "
    "the actor will not learn to speak well.":
        "Der Mund folgt dem Ton nicht, als spräche jemand anderes oder als überdeckte Lärm die Stimme: der Darsteller "
        "wird nicht gut sprechen lernen.",
    "The mouth in the footage follows its sound only weakly: check that the person shown is heard.":
        "Der Mund in der Aufnahme folgt dem Ton nur schwach: prüfen, ob die gezeigte Person zu hören ist.",
    "The sound came {} ms too {} and was moved to the mouth.":
        "Der Ton kam {} ms zu {} und wurde zum Mund verschoben.",
    "early": "früh",
    "late": "spät",
    "The video breaks off after {} of {} seconds; the rest cannot be read.":
        "Das Video bricht nach {} von {} Sekunden ab; der Rest ist nicht lesbar.",
    "The video has no sound: {}": "Das Video hat keinen Ton: {}",
    "The video's sound is silent: {}": "Der Ton des Videos ist still: {}",
    "the actor can be keyed and rendered, but it cannot learn to speak.":
        "der Darsteller kann animiert und gerendert werden, aber nicht sprechen lernen.",
    "Training goes on from step {} of {}.": "Das Training geht bei Schritt {} von {} weiter.",
    "Training starts from the beginning: {}": "Das Training beginnt von vorn: {}",
    "the checkpoint belongs to other footage or settings.":
        "der Zwischenstand gehört zu einer anderen Aufnahme oder anderen Einstellungen.",
    "the checkpoint does not fit this model.": "der Zwischenstand passt nicht zu diesem Modell.",
    "the checkpoint is damaged.": "der Zwischenstand ist beschädigt.",
    "{} frames of the video are damaged and were left out.":
        "{} Bilder des Videos sind beschädigt und wurden ausgelassen.",
    "{} s of good footage lie outside that segment and were not used: "
    "the actor learns only from the longest uninterrupted segment.":
        "{} s brauchbare Aufnahme liegen außerhalb dieses Abschnitts und wurden nicht verwendet: der Darsteller lernt "
        "nur aus dem längsten ununterbrochenen Abschnitt.",
    # speaking, dubbing, captures
    "Choose 1 for the actor's own strength.": "Für die Stärke des Darstellers 1 wählen.",
    "Choose 0 for no smoothing.": "Ohne Glättung 0 wählen.",
    "Choose 0 to {} s.": "0 bis {} s wählen.",
    "Choose a file with sound.": "Eine Datei mit Ton wählen.",
    "Choose a longer sound.": "Einen längeren Ton wählen.",
    "Choose a sound with a voice.": "Einen Ton mit einer Stimme wählen.",
    "Choose {}, or leave it out to dub the actor's own crops.":
        "{} wählen, oder keines, um die Ausschnitte des Darstellers zu synchronisieren.",
    "Convert it to WAV and try again.": "In WAV umwandeln und erneut versuchen.",
    "Create the actor from a video with the person's voice.":
        "Den Darsteller aus einem Video mit der Stimme der Person erstellen.",
    "Cut it into shorter lines.": "Ihn in kürzere Abschnitte schneiden.",
    "Export it again.": "Erneut exportieren.",
    "Export it from Live Link Face again.": "Erneut aus Live Link Face exportieren.",
    "Choose longer parts of the footage, between 0 and {} s.":
        "Längere Teile der Aufnahme wählen, zwischen 0 und {} s.",
    "Smoothing must be between 0 and {} s, not {} s.": "Die Glättung muss zwischen 0 und {} s liegen, nicht bei {} s.",
    "Strengths must be between 0 and {}, not {}.": "Stärken müssen zwischen 0 und {} liegen, nicht bei {}.",
    "The actor learned from less than {} s between {} and {} s.":
        "Der Darsteller hat zwischen {1} und {2} s aus weniger als {0} s gelernt.",
    "The capture {} cannot be used: {}.": "Das Capture {} ist nicht brauchbar: {}.",
    "The line is longer than the {} s of footage that are left: the footage plays forwards and backwards.":
        "Der Text ist länger als die übrigen {} s der Aufnahme: Sie wird vorwärts und rückwärts abgespielt.",
    "The performance {} cannot be used: {}.": "Die Darbietung {} ist nicht brauchbar: {}.",
    "The sound of {} cannot be read.": "Der Ton von {} kann nicht gelesen werden.",
    "{} cannot speak, because its footage had no usable sound.":
        "{} kann nicht sprechen, weil die Aufnahme keinen brauchbaren Ton hatte.",
    "{} has no sound track.": "{} hat keine Tonspur.",
    "{} is longer than an hour.": "{} ist länger als eine Stunde.",
    "{} is not a readable performance.": "{} ist keine lesbare Darbietung.",
    "{} is not the video that {} was made from.": "{} ist nicht das Video, aus dem {} entstand.",
    "{} is shorter than {} seconds.": "{} ist kürzer als {} Sekunden.",
    "{} is silent.": "{} ist still.",
    "{} learned to speak in a newer Portrait Actor.": "{} hat in einem neueren Portrait Actor sprechen gelernt.",
    "{} s is not in the footage.": "{} s liegt nicht in der Aufnahme.",
    # training and rendering
    "Choose the device cpu, or install a driver and a CUDA build of PyTorch.":
        "Das Gerät „CPU“ wählen oder einen Treiber und ein PyTorch mit CUDA installieren.",
    "Close other programs, or choose a smaller size or preset.":
        "Andere Programme schließen oder eine kleinere Größe oder Qualität wählen.",
    "Create the actor again from its video. The tracking is kept; only training runs again.":
        "Den Darsteller noch einmal aus seinem Video erstellen. Das Tracking bleibt; nur das Training läuft erneut.",
    "Frames with motion blur have no Vector pass: they would be blurred twice.":
        "Bilder mit Bewegungsunschärfe haben keinen Vektor-Durchgang: sie würden doppelt unscharf.",
    "Frames {} to {} are no range.": "Bild {} bis {} ist kein Bereich.",
    "Install gsplat and the CUDA toolkit, or choose the device cpu.":
        "gsplat und das CUDA-Toolkit installieren oder das Gerät „CPU“ wählen.",
    "Let the last frame come after the first.": "Das letzte Bild muss nach dem ersten kommen.",
    "No NVIDIA GPU is available to this installation of PyTorch.":
        "Diese PyTorch-Installation findet keine NVIDIA-GPU.",
    "Switch off the scene's motion blur, or the vectors.":
        "Die Bewegungsunschärfe der Szene oder die Vektoren ausschalten.",
    "The GPU rasteriser gsplat is not installed, or cannot be compiled.":
        "Der GPU-Rasterizer gsplat ist nicht installiert oder lässt sich nicht kompilieren.",
    "The model of {} was trained by another version of Portrait Actor.":
        "Das Modell von {} wurde von einer anderen Version von Portrait Actor trainiert.",
    "There is not enough memory {}for this job.": "Für diesen Auftrag reicht der Speicher {}nicht.",
    "on the GPU ": "der GPU ",
    "{} of {} frames are unchanged and were kept.": "{} von {} Bildern sind unverändert und wurden behalten.",
}  # fmt: skip
